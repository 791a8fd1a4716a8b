"""The front of a run, read back."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

from nas.errors import UsageError
from search.space import Architecture

Part = TypeVar("Part")


@dataclasses.dataclass(frozen=True)
class Member:
    """One subnet of a verified front.

    Attributes:
        arch: The architecture.
        metrics: ``loss`` and ``test_loss`` in the unit of the data, ``error`` and
            ``test_error`` as shares, with several tasks also those of each as
            ``loss_TASK`` and so on; ``latency_ms`` as measured, ``params``, ``macs``,
            ``flops`` and ``memory_mb``.
        predicted: What the search believed.
        why: Why it is on the front.
    """

    arch: Architecture
    metrics: dict[str, float]
    predicted: dict[str, float]
    why: str

    @property
    def id(self) -> str:
        """Names the architecture, and its folder in ``subnets``."""
        return self.arch.id


def load_front(path: Path) -> list[Member]:
    """Reads ``front.json``, fastest subnet first.

    Raises:
        UsageError: If there is none, or it is damaged.
    """
    return _read(path, _members)


def _members(stored: Any) -> list[Member]:  # noqa: ANN401 - `_read` guards its parts
    return [
        Member(
            Architecture.from_json(entry["arch"]),
            entry["metrics"],
            entry["predicted"],
            entry["why"],
        )
        for entry in stored
    ]


@dataclasses.dataclass(frozen=True)
class Landmark:
    """The smallest, middle or largest subnet, shown beside a front.

    Attributes:
        label: Which of them.
        arch: The architecture.
        metrics: As those of a `Member`.
        measured: Whether its latency was measured; otherwise it is predicted.
    """

    label: Literal["smallest", "middle", "largest"]
    arch: Architecture
    metrics: dict[str, float]
    measured: bool


def load_landmarks(path: Path) -> list[Landmark]:
    """Reads ``landmarks.json``, smallest first.

    Raises:
        UsageError: If there is none, or it is damaged.
    """
    return _read(path, _landmarks)


def _landmarks(stored: Any) -> list[Landmark]:  # noqa: ANN401 - as `_members`
    return [
        Landmark(
            label,
            Architecture.from_json(stored[label]["arch"]),
            stored[label]["metrics"],
            stored[label]["measured"],
        )
        for label in ("smallest", "middle", "largest")
    ]


def _read(path: Path, build: Callable[[Any], list[Part]]) -> list[Part]:
    """Builds what a JSON file holds; what is wrong with it is told with its name."""
    try:
        return build(json.loads(path.read_text()))
    except FileNotFoundError:
        raise UsageError(f"{path} is missing: search this run first") from None
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path} is damaged ({error})") from error
