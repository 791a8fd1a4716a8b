"""Progress for people: a bar on a terminal, plain lines elsewhere."""

import contextlib
import time
from collections.abc import Iterator
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

PLAIN_SECONDS = 10.0
"""Least time between two plain lines."""


class Update(Protocol):
    """Tells how far the work is, with a few words on how it goes."""

    def __call__(self, done: int, note: str = "") -> None:
        """Shows that much as done."""


@contextlib.contextmanager
def progress(console: Console, label: str, total: int, unit: str) -> Iterator[Update]:
    """Shows progress while the block runs.

    Args:
        console: Where to show it.
        label: What is going on, as "train".
        total: When it is done.
        unit: What is counted, as "steps".
    """
    if console.is_terminal:
        yield from _bar(console, label, total, unit)
    else:
        yield from _lines(console, label, total, unit)


def _bar(console: Console, label: str, total: int, unit: str) -> Iterator[Update]:
    columns = (
        TextColumn("{task.description:<9}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(label, total=total, note="")

        def update(done: int, note: str = "") -> None:
            if note:
                bar.update(task, completed=done, note=note)
            else:
                bar.update(task, completed=done)

        yield update


def _lines(console: Console, label: str, total: int, unit: str) -> Iterator[Update]:
    start = last = time.monotonic()

    def update(done: int, note: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        if done < total and now - last < PLAIN_SECONDS:
            return
        last = now
        line = f"{label}: {done}/{total} {unit}, {now - start:.0f} s"
        console.print(f"{line}, {note}" if note else line, highlight=False)

    yield update
