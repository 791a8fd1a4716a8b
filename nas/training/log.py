"""What a training writes into metrics.jsonl, one JSON object in a line."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.rundir import Json, append_json_lines, read_json_lines, write_bytes
from nas.training.collapse import Collapse
from search.space import Architecture

Scores = Mapping[str, Mapping[str, float]]

Sink = Callable[[Json], None]
"""Is given every line as well, as a TensorBoard writer."""


class TrainingRecord:
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


class TrainingLog(TrainingRecord):
    """Writes the lines of a run.

    A line that cannot be written is told, kept, and written with the next one.

    Args:
        path: The file.
        warn: Called with a message when lines cannot be written.
        sinks: Are given every new line too.
        silent: Whether nothing is written, as where another process does it.
    """

    def __init__(
        self,
        path: Path,
        *,
        warn: Callable[[str], None],
        sinks: Sequence[Sink] = (),
        silent: bool = False,
    ) -> None:
        super().__init__(path)
        self.warn, self.sinks, self.silent = warn, sinks, silent
        self._waiting: list[Json] = []

    def training(self, step: int, losses: Mapping[str, float]) -> None:
        """Adds the losses by role."""
        self._add({"step": step, "training": dict(losses)})

    def validation(self, step: int, scores: Scores) -> None:
        """Adds the scores of the panel, by name and then by subnet."""
        others = {name: dict(row) for name, row in scores.items() if name != "loss"}
        losses = dict(scores["loss"])
        self._add({"step": step, "validation": losses, "scores": others})

    def collapse(self, found: Collapse, arch: Architecture) -> None:
        """Adds what the alarm said."""
        told = {**found._asdict(), "arch": arch.to_json()}
        del told["step"]
        self._add({"step": found.step, "collapse": told})

    def forget_after(self, step: int) -> None:
        """Drops lines that a resumed run will write again."""
        if self.silent:
            return
        logged = read_json_lines(self.path) if step else []
        kept = [line for line in logged if int(str(line["step"])) <= step]
        lines = [json.dumps(line) + "\n" for line in kept]
        write_bytes(self.path, "".join(lines).encode())

    def finish(self) -> None:
        """Writes what could not be written before.

        Raises:
            OSError: If it still cannot.
        """
        if self._waiting:
            append_json_lines(self.path, self._waiting)
            self._waiting.clear()

    def _add(self, line: Json) -> None:
        if self.silent:
            return
        for sink in self.sinks:
            sink(line)
        first = not self._waiting
        self._waiting.append(line)
        try:
            self.finish()
        except OSError as error:
            if first:
                self.warn(
                    f"{self.path} cannot be written ({error.strerror}); training goes "
                    "on, and its lines are kept in memory until they can be"
                )
