"""The plain decoder's description."""

import dataclasses
import json

import pytest

from supernets.decoder.extraction import plain_config
from supernets.decoder.plain import PlainDecoderConfig
from tests.supernets.toy import small_decoder


def stored():
    spec = small_decoder()
    config = plain_config(spec, spec.space().decode(spec.space().largest))
    return config, json.loads(json.dumps(dataclasses.asdict(config)))


def test_a_config_is_rebuilt_from_its_json():
    config, encoded = stored()
    assert PlainDecoderConfig.from_json(encoded) == config


def test_a_config_with_an_unknown_or_missing_field_is_refused():
    _, encoded = stored()
    with pytest.raises(TypeError, match="colour"):
        PlainDecoderConfig.from_json(encoded | {"colour": 1})
    del encoded["width"]
    with pytest.raises(TypeError, match="width"):
        PlainDecoderConfig.from_json(encoded)
