"""A process that obeys commands in lines of JSON: one side of a comparison.

Two sides that live in processes of their own can be called in turn, each idle while the
other works, although their environments have nothing in common. For that reason this
file imports only NumPy and the standard library.
"""

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Literal, Self, TypeVar

import numpy as np

ROOT = Path(__file__).parent.parent.parent

PAIRS = ("pair 1", "pair 2", "pair 3")
"""Sandwich steps that differ in the two subnets they sample."""

SETTLE_SECONDS = 0.05
"""How long a side works before a call counts: the other has emptied its caches."""

Answer = dict[str, Any]
Values = Mapping[str, np.ndarray]
R = TypeVar("R")


@dataclasses.dataclass(frozen=True)
class Case:
    """What is run: ``subnet`` is a landmark, or one of `PAIRS` for a sandwich step."""

    kind: Literal["forward", "training", "sandwich"]
    subnet: str
    precision: Literal["float32", "bfloat16"]


@dataclasses.dataclass(frozen=True)
class Program(Generic[R]):
    """A case that is ready to run.

    Attributes:
        run: Does the work and returns when it is done.
        values: Turns what ``run`` returned into arrays that the sides share.
    """

    run: Callable[[], R]
    values: Callable[[R], Values]


class UnavailableError(Exception):
    """A side cannot run a case; the message says why."""


class Peer:
    """The other end of `serve`: starts a side and waits for its answers.

    Args:
        name: What messages call the side.
        line: Its command line.
        variables: Environment variables beside those of this process.
    """

    def __init__(
        self, name: str, line: Sequence[str], variables: Mapping[str, str]
    ) -> None:
        self._name = name
        self._process = subprocess.Popen(
            line,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **variables},
            cwd=ROOT,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def describe(self) -> Answer:
        """Returns what the side says about itself."""
        return self._ask("describe")

    def prepare(self, case: Case) -> str:
        """Readies a case; returns why that is impossible, empty if it is not."""
        return self._ask("prepare", case)["unavailable"]

    def values(self, case: Case, path: Path) -> Values:
        """Runs a case and returns what came out, by way of a file."""
        self._ask("values", case, path=str(path))
        with np.load(path) as stored:
            return dict(stored)

    def seconds(self, case: Case) -> float:
        """Runs a case and returns how long it took."""
        return self._ask("seconds", case)["seconds"]

    def _ask(self, command: str, case: Case | None = None, **arguments: str) -> Answer:
        request: Answer = {"command": command, **arguments}
        if case is not None:
            request["case"] = dataclasses.asdict(case)
        source, sink = self._process.stdout, self._process.stdin
        assert source is not None
        assert sink is not None
        try:
            sink.write(json.dumps(request) + "\n")
            sink.flush()
            answer = source.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            code = self._process.wait()
            raise RuntimeError(
                f"the {self._name} side ended with exit code {code} when asked to "
                f"{request}; what it printed says why"
            )
        return json.loads(answer)


def serve(about: Answer, build: Callable[[Case], Program[Any]]) -> None:
    """Answers commands from standard input until it is closed.

    Args:
        about: What the side says about itself.
        build: Readies a case, or raises `UnavailableError`.
    """
    programs: dict[Case, Program[Any]] = {}

    def answer(command: str, case: Case, path: str) -> Answer:
        if command == "prepare":
            try:
                programs[case] = build(case)
            except UnavailableError as error:
                return {"unavailable": str(error)}
            return {"unavailable": ""}
        program = programs[case]
        if command == "values":
            np.savez(path, allow_pickle=False, **program.values(program.run()))
            return {}
        return {"seconds": _settled(program.run)}

    # Whatever a library prints must not come between the answers.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        for line in sys.stdin:
            request = json.loads(line)
            command = request["command"]
            if command == "describe":
                reply = about
            else:
                case = Case(**request["case"])
                reply = answer(command, case, request.get("path", ""))
            answers.write(json.dumps(reply) + "\n")
            answers.flush()


def _settled(run: Callable[[], object]) -> float:
    """Returns the seconds of the last of as many calls as settling takes."""
    begun = start = time.perf_counter()
    end = begun
    while end - begun < SETTLE_SECONDS:
        start = time.perf_counter()
        run()
        end = time.perf_counter()
    return end - start
