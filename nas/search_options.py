"""What `nas search DIR` takes in short: other constraints, algorithms, effort, seed."""

import argparse
import dataclasses
import difflib
from collections.abc import Sequence
from typing import get_args

from nas.algorithms import SearchSpec
from nas.errors import UsageError
from nas.experiment import Experiment, Search
from search.constraints import Bound

KINDS = {kind.__name__: kind for kind in get_args(SearchSpec)}
"""Every algorithm that may be named."""

HELP = f"""\
On the directory of a run, these search its trained supernet again:

  --constraint "METRIC<=NUMBER"  a limit, for all that there were; may be repeated
  --algorithm NAME [NAME ...]    who searches: {", ".join(KINDS)}; the beginning
                                 of a name will do, as gradient
  --evaluations N                subnets that each campaign looks at
  --seed N                       (first) seed of the campaigns

What was evaluated before is not evaluated again, and the results of the former search
are kept in DIR/earlier."""


def parse_search(
    experiment: Experiment, arguments: Sequence[str]
) -> tuple[Experiment, list[str]]:
    """Returns the experiment with another search, and the arguments that are left.

    Args:
        experiment: Of a run.
        arguments: What follows ``nas search DIR``.

    Raises:
        UsageError: If a value will not do; near matches of an algorithm are offered.
    """
    parser = argparse.ArgumentParser(
        prog="nas search DIR", add_help=False, allow_abbrev=False, usage=HELP
    )
    parser.add_argument("--constraint", action="append", default=[])
    parser.add_argument("--algorithm", nargs="+", default=[])
    parser.add_argument("--evaluations", type=int)
    parser.add_argument("--seed", type=int)
    found, rest = parser.parse_known_args(arguments)
    search = experiment.search
    try:
        if found.constraint:
            bounds = (str(Bound.parse(constraint)) for constraint in found.constraint)
            # Written alike, so that spaces make no other search of them.
            search = dataclasses.replace(search, constraints=tuple(bounds))
        if found.algorithm:
            first, *rivals = _chosen(search, found.algorithm)
            search = dataclasses.replace(search, algorithm=first, rivals=tuple(rivals))
        if found.evaluations is not None:
            search = dataclasses.replace(search, evaluations=found.evaluations)
        if found.seed is not None:
            search = dataclasses.replace(search, seed=found.seed)
        return dataclasses.replace(experiment, search=search), rest
    except ValueError as error:
        raise UsageError(f"nas search: {error}") from error


def _chosen(search: Search, names: Sequence[str]) -> list[SearchSpec]:
    """Returns the named algorithms: as the recipe has them, or as usual."""
    held = {type(algorithm).__name__: algorithm for algorithm in search.algorithms}
    whole = [_whole(name) for name in names]
    return [held.get(name) or KINDS[name]() for name in whole]


def _whole(name: str) -> str:
    """Returns the name of the algorithm that is meant."""
    lower = {known.lower(): known for known in KINDS}
    if name.lower() in lower:
        return lower[name.lower()]
    begun = [word for word in lower if name and word.startswith(name.lower())]
    if len(begun) == 1:
        return lower[begun[0]]
    near = begun or difflib.get_close_matches(name.lower(), lower, cutoff=0.5)
    hint = f"did you mean {' or '.join(lower[word] for word in near)}? " if near else ""
    raise UsageError(f"no algorithm {name!r}: {hint}There are {', '.join(KINDS)}")
