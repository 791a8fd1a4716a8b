"""The front of a run, written and read back."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from nas.errors import UsageError
from nas.experiment import Experiment
from nas.metric_names import LATENCY
from nas.rundir import write_json
from search.space import Architecture

Part = TypeVar("Part")

FINETUNED = "finetuned_"
"""Before the name of a score that fine-tuning gave."""

RETRAINED = "retrained_"
"""Before the name of a score that training from scratch gave."""

NOTABLE_MISS = 0.1
"""Share by which a prediction may be off before it is told."""


@dataclasses.dataclass(frozen=True)
class Member:
    """One subnet of a verified front.

    Attributes:
        arch: The architecture.
        metrics: ``loss`` and ``test_loss`` in the unit of the data, ``error`` and
            ``test_error`` as shares, with several tasks also those of each as
            ``loss_TASK`` and so on; ``latency_ms`` as measured, ``params``, ``macs``,
            ``flops`` and ``memory_mb``. After fine-tuning there are the scores that it
                gave too, as ``finetuned_loss`` and ``finetuned_test_loss``; those of a
            training from scratch are ``retrained_loss`` and so on.
        predicted: What the search believed.
        why: Why it is on the front.
        weights: Which are exported: those of the supernet, or those fine-tuned where
            they are better on the split that the search looked at.
    """

    arch: Architecture
    metrics: dict[str, float]
    predicted: dict[str, float]
    why: str
    weights: Literal["inherited", "finetuned"] = "inherited"

    @property
    def id(self) -> str:
        """Names the architecture, and its folder in ``subnets``."""
        return self.arch.id

    @property
    def misses(self) -> dict[str, float]:
        """Predictions that were off by more than `NOTABLE_MISS`, by metric.

        As shares of what was measured; positive where it was predicted too high.
        """
        shares = {
            name: value / self.metrics[name] - 1
            for name, value in self.predicted.items()
            if self.metrics.get(name, 0) > 0
        }
        return {n: share for n, share in shares.items() if abs(share) > NOTABLE_MISS}

    def with_scores(self, scores: Mapping[str, float]) -> "Member":
        """Returns the member with further scores, by name."""
        return dataclasses.replace(self, metrics={**self.metrics, **scores})

    def with_finetuned(self, scores: Mapping[str, float], *, better: bool) -> "Member":
        """Returns the member with scores after fine-tuning.

        Args:
            scores: By name, as ``finetuned_loss``.
            better: Whether the fine-tuned weights are to be exported.
        """
        return dataclasses.replace(
            self,
            metrics={**self.metrics, **scores},
            weights="finetuned" if better else "inherited",
        )


def costs_of(experiment: Experiment) -> tuple[str, ...]:
    """Returns the metrics that a front is drawn against; its order is by the first.

    Those are the objectives that are known without an evaluation. Where all are scores,
    it is the latency.
    """
    search = experiment.search
    return tuple(name for name in search.objectives if search.knows(name)) or (LATENCY,)


def cheapest_first(front: Sequence[Member], cost: str) -> list[Member]:
    """Returns a front in the order of a metric, the faster of equal members first."""
    missing = float("inf")

    def place(member: Member) -> tuple[float, float]:
        told = member.metrics
        return told.get(cost, missing), told.get(LATENCY, missing)

    return sorted(front, key=place)


def write_front(path: Path, front: Sequence[Member]) -> None:
    """Writes ``front.json``, members in the order given."""
    entries = [
        {
            "id": member.id,
            "arch": member.arch.to_json(),
            "metrics": member.metrics,
            "predicted": member.predicted,
            "why": member.why,
            "weights": member.weights,
        }
        for member in front
    ]
    write_json(path, entries)


def load_front(path: Path) -> list[Member]:
    """Reads ``front.json``, members in the order of the file.

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
            entry.get("weights", "inherited"),
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
