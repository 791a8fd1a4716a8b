"""A search as a person sees it: a live table on a terminal, plain lines elsewhere."""

import collections
import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence

import rich.box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from nas.progress import PLAIN_SECONDS
from search.campaign import Progress
from search.workers import Crew

WINDOW = 8
"""Generations that the rate of evaluations is taken from."""

Show = Callable[[Progress, Crew], None]


@dataclasses.dataclass
class Standing:
    """How one campaign stands.

    Attributes:
        campaign: Its name.
        budget: Subnets that it may evaluate.
        latest: What was told last; ``None`` before its first generation.
        crew: Its evaluators at that time.
    """

    campaign: str
    budget: int
    latest: Progress | None = None
    crew: Crew | None = None
    _told: collections.deque[tuple[float, int]] = dataclasses.field(
        default_factory=lambda: collections.deque(maxlen=WINDOW)
    )

    def note(self, latest: Progress, crew: Crew) -> None:
        """Takes in a generation; one that is told again begins anew."""
        if self.latest is not None and latest.generation <= self.latest.generation:
            self._told.clear()
        self.latest, self.crew = latest, crew
        self._told.append((time.monotonic(), latest.evaluations))

    @property
    def rate(self) -> float | None:
        """Subnets per second of late; ``None`` before two generations."""
        if len(self._told) < 2:
            return None
        (began, before), (now, done) = self._told[0], self._told[-1]
        return (done - before) / (now - began) if now > began else None

    @property
    def left(self) -> float | None:
        """Seconds until the budget is spent, at that rate."""
        if self.latest is None or not self.rate:
            return None
        return (self.budget - self.latest.evaluations) / self.rate

    def cells(self) -> dict[str, str]:
        """Returns what is told of it, by heading; empty where nothing is known."""
        latest, crew = self.latest, self.crew
        done = latest.evaluations if latest is not None else 0
        best = latest.best if latest is not None else {}
        volume = latest.hypervolume if latest is not None else None
        return {
            "subnets": f"{done}/{self.budget}",
            "best": ", ".join(f"{name} {value:.4g}" for name, value in best.items()),
            "hypervolume": "" if volume is None else f"{volume:.4f}",
            "per second": "" if self.rate is None else f"{self.rate:.3g}",
            "evaluators": "" if crew is None else crew_in_words(crew),
            "left": "" if self.left is None else duration(self.left),
        }

    def line(self) -> str:
        """Returns the same as a plain line."""
        cells = self.cells()
        volume, rate = cells["hypervolume"], cells["per second"]
        words = (
            f"{cells['subnets']} subnets",
            cells["best"] and f"best {cells['best']}",
            volume and f"hypervolume {volume}",
            rate and f"{rate} per second",
            cells["evaluators"] and f"evaluators {cells['evaluators']}",
            cells["left"] and f"{cells['left']} left",
        )
        return f"search: {self.campaign}, {', '.join(word for word in words if word)}"


def crew_in_words(crew: Crew) -> str:
    """Returns how many evaluators there are, and what befell them."""
    alive = (
        str(crew.alive) if crew.alive == crew.count else f"{crew.alive}/{crew.count}"
    )
    return f"{alive} ({crew.restarts} restarted)" if crew.restarts else alive


def duration(seconds: float) -> str:
    """Returns a time as a person says it."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


@contextlib.contextmanager
def search_display(
    console: Console, campaigns: Sequence[tuple[str, int]]
) -> Iterator[Show]:
    """Shows campaigns while the block runs.

    Args:
        console: Where to show them.
        campaigns: The name of each, and how many subnets it may evaluate.
    """
    standings = {name: Standing(name, budget) for name, budget in campaigns}
    if console.is_terminal:
        yield from _live(console, standings)
    else:
        yield from _plain(console, standings)


def _live(console: Console, standings: dict[str, Standing]) -> Iterator[Show]:
    with Live(_table(standings), console=console, refresh_per_second=4) as live:

        def show(latest: Progress, crew: Crew) -> None:
            standings[latest.campaign].note(latest, crew)
            live.update(_table(standings))

        yield show


def _table(standings: dict[str, Standing]) -> Table:
    rows = {name: standing.cells() for name, standing in standings.items()}
    table = Table(box=rich.box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("search")
    for heading in next(iter(rows.values()), {}):
        table.add_column(heading, justify="left" if heading == "best" else "right")
    for name, cells in rows.items():
        table.add_row(name, *cells.values())
    return table


def _plain(console: Console, standings: dict[str, Standing]) -> Iterator[Show]:
    spoken = dict.fromkeys(standings, time.monotonic())
    crews: dict[str, Crew] = {}

    def show(latest: Progress, crew: Crew) -> None:
        standing = standings[latest.campaign]
        standing.note(latest, crew)
        whole = Crew(count=crew.count, alive=crew.count, restarts=0)
        news = crew != crews.get(latest.campaign, whole)
        crews[latest.campaign] = crew
        now = time.monotonic()
        ended = latest.evaluations >= standing.budget
        if ended or news or now - spoken[latest.campaign] >= PLAIN_SECONDS:
            spoken[latest.campaign] = now
            # On one line whatever the width, since it may be searched for.
            console.print(standing.line(), highlight=False, soft_wrap=True)

    yield show
