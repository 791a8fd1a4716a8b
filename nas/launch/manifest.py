"""Manifests as YAML that a person can read: a small subset of it, and plain values."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence

Manifest = Mapping[str, object]

PLAIN = re.compile(r"[A-Za-z/][-\w./]*")
"""Text that needs no quotes, unless it is a word for something else."""

WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


def to_yaml(*manifests: Manifest) -> str:
    """Returns manifests as one YAML stream.

    >>> print(to_yaml({"spec": {"args": ["a", "2"], "size": 2}}), end="")
    spec:
      args:
        - a
        - "2"
      size: 2
    """
    return "---\n".join(
        "".join(f"{line}\n" for line in _mapping(manifest)) for manifest in manifests
    )


def _mapping(values: Manifest) -> Iterator[str]:
    for key, value in values.items():
        yield from _entry(f"{_text(key)}:", value)


def _entry(start: str, value: object) -> Iterator[str]:
    """Yields what follows a key, on its line or below it."""
    if isinstance(value, str) and _is_block(value):
        yield f"{start} |2"
        yield from (f"  {line}" for line in value[:-1].split("\n"))
    elif isinstance(value, str):
        yield f"{start} {_text(value)}"
    elif isinstance(value, Mapping) and value:
        yield start
        yield from (f"  {line}" for line in _mapping(value))
    elif isinstance(value, Sequence) and value:
        yield start
        yield from (f"  {line}" for line in _items(value))
    else:
        # Numbers, and what is empty, are written as JSON writes them.
        yield f"{start} {json.dumps(value)}"


def _items(values: Sequence[object]) -> Iterator[str]:
    for value in values:
        if isinstance(value, Mapping) and value:
            first, *others = _mapping(value)
            yield f"- {first}"
            yield from (f"  {line}" for line in others)
        else:
            yield from _entry("-", value)


def _is_block(text: str) -> bool:
    """Says whether text is lines that can be shown as they are."""
    whole = text.endswith("\n") and not text.endswith("\n\n")
    return whole and all(c.isprintable() or c in "\n\t" for c in text)


def _text(text: str) -> str:
    if PLAIN.fullmatch(text) and text.lower() not in WORDS:
        return text
    # A string of JSON is one of YAML too.
    return json.dumps(text, ensure_ascii=False)
