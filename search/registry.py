"""Every search algorithm that a recipe may name."""

from search.constrained_genetic import ConstrainedGenetic
from search.exhaustive import Exhaustive
from search.local_search import LocalSearch
from search.mix_and_match import MixAndMatch
from search.nsga2 import Nsga2
from search.random_search import RandomSearch
from search.regularized_evolution import RegularizedEvolution
from search.surrogate import SurrogateEvolution
from search.tune_searcher import TuneSearcher

AlgorithmSpec = (
    Nsga2
    | RegularizedEvolution
    | ConstrainedGenetic
    | LocalSearch
    | SurrogateEvolution
    | TuneSearcher
    | MixAndMatch
    | Exhaustive
    | RandomSearch
)
"""How subnets are proposed.

====================== =======================================================
`Nsga2`                constraint domination and crowding, for several objectives
`RegularizedEvolution` the oldest die
`ConstrainedGenetic`   one objective within limits (Once-for-All, AutoFormer)
`LocalSearch`          neighbours of the front, and restarts
`SurrogateEvolution`   searches a predictor between evaluations
`TuneSearcher`         a searcher of Ray Tune, as Optuna
`MixAndMatch`          mixtures of two neighbouring sizes (MatFormer)
`Exhaustive`           everything, in small spaces
`RandomSearch`         what all others must beat
====================== =======================================================
"""
