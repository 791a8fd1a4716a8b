"""Which subnets are measured to fit a latency model, and which to test it."""

import numpy as np

from nas.experiment import Experiment
from nas.profile import Role
from search.latency_model import evenly_held_out
from search.space import Genotypes

POOL = 1000
"""Random members that the measured ones are picked from, evenly by operations."""


def chosen(experiment: Experiment) -> tuple[Genotypes, list[Role]]:
    """Picks members evenly spread by operations; the extremes go to the fit.

    A space with no more members than would be measured has all of them picked.
    """
    model, latency = experiment.model, experiment.latency
    space = model.space()
    if latency.measures_all(space):
        members = space.enumerate()
        return members, ["member"] * len(members)
    rng = np.random.default_rng([experiment.seed, POOL])
    ends = np.stack([space.smallest, space.largest])
    # Of independent genes most members would be average ones: tilts spread them.
    drawn = space.sample(POOL, rng, rng.random(POOL))
    pool = np.unique(np.concatenate([ends, drawn]), axis=0)
    macs = model.costs(pool, batch=1, example=experiment.data.example)["macs"]
    order = np.argsort(macs, kind="stable")
    count = min(latency.fit + latency.held_out, len(pool))
    picked = pool[order[np.linspace(0, len(pool) - 1, count).round().astype(int)]]
    tested = evenly_held_out(count, latency.held_out)
    return picked, ["held_out" if test else "fit" for test in tested]
