"""The panel: a few fixed subnets that are validated throughout the training."""

import dataclasses
import json
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from nas.errors import RunError
from nas.metrics import LANDMARKS
from nas.report import words
from nas.rundir import read_json, write_bytes
from search.space import Architecture, Genotypes, Space
from supernets.policies.policy import Cost

SUBNETS = 7
"""Members of a panel; fewer where a small space has no others."""

WAYS = 16
"""Ways through the space that are tried: on some, costs rise in large steps."""


@dataclasses.dataclass(frozen=True, eq=False)
class Panel:
    """Subnets by ascending cost, each a part of the next.

    Attributes:
        labels: ``smallest``, ``middle``, ``largest``, and what the others cost.
        genotypes: One row for each.
        macs: Multiply-accumulates of each, for one input.
    """

    labels: tuple[str, ...]
    genotypes: Genotypes
    macs: Float[np.ndarray, " population"]

    def write(self, path: Path, space: Space) -> None:
        """Writes which subnet each label stands for, as JSON, one in a line."""
        lines = []
        for label, genotype, macs in zip(
            self.labels, self.genotypes, self.macs, strict=True
        ):
            arch = space.decode(genotype)
            member = {
                "macs": float(macs),
                "genotype": genotype.tolist(),
                "id": arch.id,
                "arch": arch.to_json(),
            }
            lines.append(f"{json.dumps(label)}: {json.dumps(member)}")
        text = ",\n".join(lines)
        write_bytes(path, f"{{\n{text}\n}}\n".encode())


@dataclasses.dataclass(frozen=True)
class Member:
    """One subnet of a panel, as it was written.

    Attributes:
        macs: Its multiply-accumulates for one input.
        arch: Its architecture.
    """

    macs: float
    arch: Architecture


def make_panel(space: Space, cost: Cost, subnets: int = SUBNETS) -> Panel:
    """Returns the panel of a space; always the same.

    On a way from the smallest through the middle to the largest, one gene grows at a
    time. Beside these three, the panel has the members of such a way whose costs are
    nearest to levels spaced evenly on a logarithmic scale; of `WAYS` random ways the
    one is taken that comes nearest.

    Args:
        space: Whose members they are.
        cost: Prices them; positive, in multiply-accumulates.
        subnets: How many; at least the three landmarks.

    Raises:
        ValueError: If there are to be fewer than three.
    """
    if subnets < len(LANDMARKS):
        raise ValueError(f"a panel has at least {LANDMARKS}, got {subnets} subnets")
    landmarks = np.stack([getattr(space, name) for name in LANDMARKS])
    low, middle, high = np.log(cost(landmarks))
    levels = np.linspace(low, high, subnets)[1:-1]
    # The middle stands for the level that it is nearest to.
    levels = np.delete(levels, np.argmin(abs(levels - middle)))
    between = _between(space, cost, levels)
    genotypes = np.concatenate([landmarks, between]).astype(np.int32)
    macs = np.asarray(cost(genotypes), float)
    count = len(LANDMARKS)
    labels = [*LANDMARKS, *(f"{words.count(value)} MACs" for value in macs[count:])]
    # What costs the same to three digits tells nothing more.
    first = np.unique(labels, return_index=True)[1]
    order = sorted(first.tolist(), key=lambda row: (macs[row], row))
    return Panel(tuple(labels[row] for row in order), genotypes[order], macs[order])


def load_panel(path: Path) -> dict[str, Member]:
    """Returns which subnet each label of a run's panel stands for.

    Raises:
        RunError: If the file is missing or damaged.
    """
    members = {}
    for label, entry in read_json(path).items():
        try:
            if not isinstance(entry, dict):
                raise ValueError(f"{label!r} should be an object")
            macs, arch = entry["macs"], Architecture.from_json(entry["arch"])
            members[label] = Member(float(macs), arch)
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"{path} is damaged ({error}); train again in a new --out"
            ) from error
    return members


def _between(
    space: Space, cost: Cost, levels: Float[np.ndarray, " levels"]
) -> Genotypes:
    """Returns the members of a way nearest to each level, without the landmarks."""
    best, least = space.smallest[None][:0], np.inf
    landmarks = {tuple(getattr(space, name).tolist()) for name in LANDMARKS}
    for seed in range(WAYS):
        way = _way(space, np.random.default_rng(seed))
        new = [tuple(member) not in landmarks for member in way.tolist()]
        members = np.unique(way[np.asarray(new)], axis=0)
        if not len(members):
            continue
        distances = abs(np.log(cost(members))[:, None] - levels)
        # No member twice; where there are too few, levels go without.
        rows, columns = linear_sum_assignment(distances)
        missed = float(distances[rows, columns].sum())
        if missed < least:
            best, least = members[rows], missed
    return best


def _way(space: Space, rng: np.random.Generator) -> Genotypes:
    """Returns members from the smallest through the middle to the largest."""
    stages = []
    for start, end in ((space.smallest, space.middle), (space.middle, space.largest)):
        # Genes of layers that do not run are zero, which is no step down.
        grown = np.maximum(end - start, 0)
        # In a shuffled order layers differ from each other, as in most subnets.
        steps = rng.permutation(np.repeat(np.arange(space.genes), grown))
        moves = (steps[:, None] == np.arange(space.genes)).cumsum(axis=0)
        stages.append(start + np.concatenate([np.zeros_like(start)[None], moves]))
    way = space.canonical(np.concatenate(stages).astype(np.int32))
    return way[space.valid(way)]
