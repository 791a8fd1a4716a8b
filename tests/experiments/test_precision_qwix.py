"""Rounding by Qwix: what it is given, and the environment that it needs."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from flax import nnx

from experiments.benchmarks import precision_qwix
from nas import Decoder, Precision
from supernets.weights import flat_weights

MODEL = Decoder(
    width=(8,),
    heads=(1,),
    ffn=(16,),
    depth=(2,),
    head_dim=8,
    precision=Precision(weights=(2, 4, 16)),
)


@pytest.mark.slow
def test_qwix_gets_the_weights_of_layers_and_how_many_axes_are_outputs(monkeypatch):
    network = MODEL.build(rngs=nnx.Rngs(0))
    monkeypatch.setattr(precision_qwix, "environment", lambda: Path("python"))

    def peer(line, **_):
        with np.load(line[2]) as file:
            given = dict(file)
        outputs = dict(zip(given["names"].tolist(), given["outputs"], strict=True))
        assert outputs["blocks.0.attention.query"] == 2
        assert outputs["blocks.1.attention.output"] == 1
        assert "embedding.table" not in outputs
        assert len(outputs) == 2 * 7
        halved = {
            f"{bits}/{name}": given[name] / bits
            for bits in given["bits"].tolist()
            for name in outputs
        }
        np.savez(line[3], **halved)

    monkeypatch.setattr(subprocess, "run", peer)
    found = precision_qwix.rounded_by_qwix(network, (2, 4))
    weights = flat_weights(network)
    for bits in (2, 4):
        for name, expected in weights.items():
            is_weight = name.startswith("blocks.") and name.split(".")[-1] in MATRICES
            scale = bits if is_weight else 1
            np.testing.assert_allclose(found[bits][name], expected / scale, rtol=1e-6)


MATRICES = {"query", "key", "value", "output", "up", "gate", "down"}


def test_an_environment_of_qwix_that_cannot_be_built_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def fail(line, **_):
        raise subprocess.CalledProcessError(2, line)

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(SystemExit, match="without --qwix it is not needed"):
        precision_qwix.environment()
    folder = tmp_path / "nas-jax" / f"qwix-{precision_qwix.QWIX}"
    folder.mkdir(parents=True)
    (folder / "ready").touch()
    assert precision_qwix.environment() == folder / "bin" / "python"
