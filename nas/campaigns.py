"""What campaigns of a search are called: by their algorithm, and by a seed of many."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas.experiment import Experiment

SEED = " seed "


def campaign_name(algorithm: object, seed: int | None) -> str:
    """Returns the name of a campaign.

    Args:
        algorithm: How it searches.
        seed: Of the campaign, where the algorithm has several.
    """
    name = type(algorithm).__name__
    return name if seed is None else f"{name}{SEED}{seed}"


def algorithm_of(campaign: str) -> str:
    """Returns the name of the algorithm of a campaign.

    >>> algorithm_of("Nsga2 seed 3"), algorithm_of("Nsga2")
    ('Nsga2', 'Nsga2')
    """
    return campaign.partition(SEED)[0]


def seeds_of(experiment: "Experiment") -> range:
    """Returns the seeds of each algorithm's campaigns."""
    search = experiment.search
    first = experiment.seed if search.seed is None else search.seed
    return range(first, first + search.seeds)
