"""Manifests: what is written is read back as it was."""

import pytest
import yaml

from nas.launch.manifest import to_yaml

TEXTS = (
    "",
    " ",
    "plain",
    "no",
    "True",
    "12",
    "1e3",
    "0.0.0.0",
    "a: b",
    "# c",
    "- d",
    'it\'s "said" \\ so',
    "two\nlines",
    "two\nlines\n",
    "\n  indented\n\tand\n\nblank\n",
    "ends twice\n\n",
    "return\r\n",
    "bell\x07\n",
    "naïve 🙂",
    "naïve 🙂\nlines\n",
    "'latency_ms <= 60%'",
)


@pytest.mark.parametrize("text", TEXTS)
def test_text_is_read_back_wherever_it_is(text):
    value = {text or "key": text, "list": [text, {"a": text, "b": [text]}, [text, 1]]}
    assert yaml.safe_load(to_yaml(value)) == value


def test_empty_and_nested_values_are_read_back():
    value = {
        "empty": {},
        "none": [],
        "nested": {"a": {"b": [{}, [], {"c": {"d": 1}, "e": [True, False]}]}},
        "number": -3,
    }
    assert yaml.safe_load(to_yaml(value)) == value


def test_several_are_documents_of_one_stream():
    assert list(yaml.safe_load_all(to_yaml({"a": 1}, {"b": "x\ny\n"}))) == [
        {"a": 1},
        {"b": "x\ny\n"},
    ]
