"""What a training writes into metrics.jsonl, one JSON object in a line."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.rundir import append_json_line, read_json_lines, write_bytes
from nas.training.collapse import Collapse
from search.space import Architecture

Scores = Mapping[str, Mapping[str, float]]


class TrainingLog:
    """The lines of one run.

    Losses are in the unit of the data. Lines have a ``step``, how many are done, and
    one of these:

    - ``training``: the mean loss of each role since the line before;
    - ``validation``: the loss of each subnet of the panel, with its other ``scores``;
    - ``collapse``: a subnet of the panel that has lost what it had learnt.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def training(self, step: int, losses: Mapping[str, float]) -> None:
        """Adds the losses by role."""
        append_json_line(self.path, {"step": step, "training": dict(losses)})

    def validation(self, step: int, scores: Scores) -> None:
        """Adds the scores of the panel, by name and then by subnet."""
        others = {name: dict(row) for name, row in scores.items() if name != "loss"}
        losses = dict(scores["loss"])
        append_json_line(
            self.path, {"step": step, "validation": losses, "scores": others}
        )

    def collapse(self, found: Collapse, arch: Architecture) -> None:
        """Adds what the alarm said."""
        told = {**found._asdict(), "arch": arch.to_json()}
        del told["step"]
        append_json_line(self.path, {"step": found.step, "collapse": told})

    def forget_after(self, step: int) -> None:
        """Drops lines that a resumed run will write again."""
        logged = read_json_lines(self.path) if step else []
        kept = [line for line in logged if int(str(line["step"])) <= step]
        lines = [json.dumps(line) + "\n" for line in kept]
        write_bytes(self.path, "".join(lines).encode())

    def entries(self, kind: str) -> list[tuple[int, dict[str, Any]]]:
        """Returns the step and the content of every line of a kind, in order."""
        return [
            (int(str(line["step"])), content)
            for line in read_json_lines(self.path)
            if isinstance(content := line.get(kind), dict)
        ]

    def collapses(self) -> list[tuple[Collapse, Architecture]]:
        """Returns everything that the alarm said."""
        return [
            (
                Collapse(
                    str(told["label"]),
                    step,
                    float(told["loss"]),
                    float(told["best"]),
                    int(told["best_step"]),
                ),
                Architecture.from_json(told["arch"]),
            )
            for step, told in self.entries("collapse")
        ]
