"""Campaigns over the toy for tests with a real Ray, and what they should archive."""

import contextlib
import json
import sys

import numpy as np
import ray

from search.archive import Archive
from search.campaign import run_campaign
from search.nsga2 import Nsga2
from search.random_search import RandomSearch
from search.stopping import Stop
from search.tune import Campaign, run_campaigns
from search.workers import Workers
from tests.search import toy as toy_module
from tests.search.toy import Toy

REFERENCE = np.asarray([1.0, 41.0])
BUDGET = 20
ONE = Workers(count=1, resources={"CPU": 1.0})
EVOLUTION = Campaign(
    name="evolution",
    algorithm=Nsga2(population=8),
    seed=3,
    stop=Stop(evaluations=BUDGET),
)
RANDOM = Campaign(
    name="random",
    algorithm=RandomSearch(batch=8),
    seed=3,
    stop=Stop(evaluations=BUDGET),
)


@contextlib.contextmanager
def by_value(*modules):
    """What is defined in these modules, and here, travels to Ray's workers by value."""
    everything = (sys.modules[__name__], toy_module, *modules)
    for module in everything:
        ray.cloudpickle.register_pickle_by_value(module)
    yield
    for module in everything:
        ray.cloudpickle.unregister_pickle_by_value(module)


class MakeEvaluate:
    """Scores the toy, and notes each call in a file that outlives its process.

    Args:
        log: Where calls are noted, a line of JSON each.
        before: Called with the number of calls that were noted before each.
    """

    def __init__(self, log, before=lambda _: None):
        self.log = log
        self.before = before

    def __call__(self, weights):
        toy = Toy()

        def evaluate(genotypes, _part):
            self.before(len(self.calls()))
            with self.log.open("a") as file:
                file.write(json.dumps(genotypes.tolist()) + "\n")
            return {"error": toy.error(genotypes) * weights["scale"]}

        return evaluate

    def calls(self):
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def evaluated(self):
        return [tuple(genotype) for call in self.calls() for genotype in call]


def search(folder, make, *campaigns, workers=ONE, storage=None, heard=lambda *_: None):
    """Runs campaigns and returns the archive and the progress that was told."""
    told = []

    def on_progress(progress, crew):
        told.append(progress)
        heard(progress, crew)

    run_campaigns(
        Toy().problem,
        campaigns,
        reference=REFERENCE,
        make_evaluate=make,
        weights={"scale": np.ones(())},
        workers=workers,
        archive=folder / "archive.jsonl",
        storage=storage or folder / "tune",
        on_progress=on_progress,
    )
    return Archive(folder / "archive.jsonl"), told


def alone(*campaigns):
    """Returns what the campaigns archive in this process, and their progress."""
    toy, archive, told = Toy(), Archive(), []
    for campaign in campaigns:
        run_campaign(
            toy.problem,
            campaign.algorithm,
            toy.evaluate,
            archive,
            name=campaign.name,
            seed=campaign.seed,
            budget=campaign.stop,
            reference=REFERENCE,
            on_generation=told.append,
        )
    return archive, told


def content(archive):
    return [
        (r.genotype, r.arch, r.metrics, r.campaign, r.index) for r in archive.records
    ]
