"""Tune's own searchers: any of them as an algorithm here, and a space for Tune's loops.

Inside a campaign a searcher is asked for a batch and told of it, and the batch goes to
the evaluators together: a Tune trial for each subnet would take longer to start than to
evaluate. A person who wants Tune's own loop nevertheless has the space as Tune sees it:

>>> from ray import tune
>>> from search.space import Choice, Depth, Space
>>> from search.tune_searcher import genotype, param_space
>>> ffn = Choice("ffn", (64, 128), per_layer=True)
>>> space = Space((Choice("width", (32, 64)), ffn), layers=2, depth=Depth((1, 2)))
>>> sorted(param_space(space))
['depth', 'ffn_0', 'ffn_1', 'width']
>>> def trainable(config):
...     arch = space.decode(genotype(space, config))
...     return {"cost": len(arch.layers) * arch["width"]}
>>> trainable({"depth": 1, "width": 64, "ffn_0": 128, "ffn_1": 64})
{'cost': 64}
>>> tuner = tune.Tuner(trainable, param_space=param_space(space))
"""

import dataclasses
import importlib.util
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from search.algorithm import Objectives, State, Violations, propose
from search.population import at_least_one, begin
from search.problem import Problem
from search.space import Genotype, Genotypes, Space
from search.space.choice import Value

if TYPE_CHECKING:
    from ray.tune.search import Searcher
    from ray.tune.search.sample import Domain

VIOLATION = "violation"
"""The metric in a searcher's results that is above 0 where a bound is broken."""

TRIES = 4
"""Suggestions for each genotype asked for, as many are known or infeasible."""

WORST_VIOLATION = 1e3

Key = tuple[int, ...]
Values = Float[np.ndarray, " objectives"]


def param_space(space: Space) -> "dict[str, Domain]":
    """Returns a space as Tune's `param_space`: a `tune.choice` for each gene.

    A choice per layer is called ``NAME_0``, ``NAME_1`` and so on; depth is ``depth``,
    or under the ``free`` rule ``layer_0``, ... with whether that layer runs. Not every
    sample is a member where there are rules or depth is free: ask ``space.valid``.
    """
    from ray import tune

    return {name: tune.choice(list(values)) for name, values in _genes(space)}


def genotype(space: Space, config: Mapping[str, object]) -> Genotype:
    """Returns the canonical genotype of a sample of :func:`param_space`.

    Args:
        space: The space.
        config: A value for each of its genes; others are ignored.

    Raises:
        ValueError: If a gene is missing, or its value is not one of the space.
    """
    genes = _genes(space)
    if missing := [name for name, _ in genes if name not in config]:
        raise ValueError(
            f"the configuration lacks {missing} of {[n for n, _ in genes]}"
        )
    indices: list[int] = []
    for name, values in genes:
        if config[name] not in values:
            raise ValueError(f"{name!r} has no value {config[name]!r}, only {values}")
        indices.append(values.index(config[name]))
    return space.canonical(np.asarray([indices], np.int32))[0]


def _genes(space: Space) -> list[tuple[str, tuple[Value, ...]]]:
    """Returns a name and the values of every gene, in order."""
    genes: list[tuple[str, tuple[Value, ...]]] = []
    if space.free:
        genes += [(f"layer_{layer}", (False, True)) for layer in range(space.layers)]
    elif space.depth is not None:
        genes.append(("depth", space.depth.values))
    for choice in space.choices:
        names = [choice.name]
        if choice.per_layer:
            names = [f"{choice.name}_{layer}" for layer in range(space.layers)]
        genes += [(name, choice.values) for name in names]
    return genes


@runtime_checkable
class SearcherSpec(Protocol):
    """Makes a searcher; a frozen dataclass, so that it can be part of a recipe."""

    def build(
        self, params: "Mapping[str, Domain]", metrics: tuple[str, ...], seed: int
    ) -> "Searcher":
        """Returns a new searcher; the same arguments give one that does the same.

        Args:
            params: What it chooses: an integer from 0 for each gene.
            metrics: What it minimises. Results also have the metric `VIOLATION`.
            seed: Of all its randomness.
        """
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optuna:
    """Tune's `OptunaSearch`, which here learns to keep to the constraints as well.

    References:
        Akiba et al., "Optuna: a next-generation hyperparameter optimization framework",
        2019, https://arxiv.org/abs/1907.10902.

    Raises:
        ValueError: If a number is out of range.
    """

    sampler: Literal["tpe", "nsga2"] = "tpe"
    """Tree-structured Parzen estimators, or Optuna's NSGA-II."""
    startup: int = 32
    """Random suggestions at first; the population of NSGA-II."""

    def __post_init__(self) -> None:
        if self.startup < 2:
            raise ValueError(f"startup must be at least 2, got {self.startup}")

    def build(
        self, params: "Mapping[str, Domain]", metrics: tuple[str, ...], seed: int
    ) -> "Searcher":
        """Returns the searcher; see :class:`SearcherSpec`.

        Raises:
            ValueError: If Optuna is not installed.
        """
        if importlib.util.find_spec("optuna") is None:
            raise ValueError(
                "the searcher Optuna needs the `optuna` extra: "
                "pip install 'nas-jax[optuna]'"
            )
        from search.optuna_searcher import build_optuna

        return build_optuna(params, metrics, seed, self.sampler, self.startup)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuneSearcher:
    """A searcher of Ray Tune, asked for a batch at a time.

    What it suggests a second time, and what breaks bounds on cheap metrics, it is told
    of at once and never evaluated; where it suggests nothing else, random members fill
    up. A searcher changes when it is asked; so the state carries it along, and where it
    was lost, one is made anew and asked and told all over again.

    Raises:
        ValueError: If a number is out of range.
    """

    searcher: Optuna | SearcherSpec = Optuna()
    """Which one; in Python also anything with a method `build`."""
    batch: int = 16
    """Genotypes asked at once. Small ones let it learn sooner."""

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, got {self.batch}")

    def init(self, problem: Problem, seed: int) -> State:
        """Returns the empty state; see :class:`search.algorithm.Algorithm`.

        Raises:
            ValueError: If the searcher is not installed.
        """
        return _Living.of(begin(problem, seed), _Session(self, problem, seed))

    def ask(self, problem: Problem, state: State) -> Genotypes:
        """Returns what the searcher suggests that is new and feasible."""
        return at_least_one(problem, state, self._session(problem, state).ask())

    def tell(
        self,
        problem: Problem,
        state: State,
        genotypes: Genotypes,
        objectives: Objectives,
        violations: Violations,
    ) -> State:
        """Returns the state with the new genotypes in it."""
        session = self._session(problem, state)
        # What is told answers a question, also where the state was read from a file.
        session.ask()
        genotypes = problem.space.canonical(genotypes)

        def everything(costs: Objectives, misses: Violations) -> np.ndarray:  # noqa: ARG001
            return np.arange(len(misses))

        after = state.after(genotypes, objectives, violations, everything)
        return _Living.of(after, session)

    def _session(self, problem: Problem, state: State) -> "_Session":
        """Returns a searcher that was told what the state was, and nothing else."""
        if isinstance(state, _Living) and state.session.came_to(state):
            session = state.session
        else:
            session = _Session(self, problem, state.seed)
        session.follow(state)
        return session


class _Session:
    """A searcher in use, and what it was told.

    Args:
        spec: Which searcher.
        problem: What is searched.
        seed: Of the search.
    """

    def __init__(self, spec: TuneSearcher, problem: Problem, seed: int) -> None:
        from ray import tune

        self._problem, self._batch, self._seed = problem, spec.batch, seed
        self._names = [name for name, _ in _genes(problem.space)]
        sizes = problem.space.cardinalities.tolist()
        params = {
            n: tune.randint(0, k) for n, k in zip(self._names, sizes, strict=True)
        }
        self._searcher = spec.searcher.build(params, problem.objectives, seed)
        self._told = State.empty(problem, seed)
        self._asked: Genotypes | None = None
        self._trials = 0
        # Trials whose outcome is not known, by their genotype.
        self._open: dict[Key, list[str]] = {}
        # Objectives and violation of everything whose outcome is.
        self._outcomes: dict[Key, tuple[Values | None, float]] = {}
        # Trials that broke a bound when nothing feasible was known to compare with.
        self._early: list[tuple[str, float]] = []
        self._worst: Values | None = None

    def came_to(self, state: State) -> bool:
        """Says whether all that was told so far is the beginning of a state."""
        told, count = self._told, len(self._told.told)
        return count <= len(state.told) and all(
            np.array_equal(mine, theirs[:count])
            for mine, theirs in (
                (told.told, state.told),
                (told.objectives, state.objectives),
                (told.violations, state.violations),
            )
        )

    def follow(self, state: State) -> None:
        """Asks and tells what led to a state, as far as that was not done yet."""
        while (start := len(self._told.told)) < len(state.told):
            asked = {_key(row) for row in self.ask()}
            keys = [_key(row) for row in state.told[start:]]
            answered = [key in asked for key in [*keys, ()]].index(False)
            # What was never asked for is told as it is.
            stop = start + (answered or len(keys))
            self._tell(state, start, stop)

    def ask(self) -> Genotypes:
        """Returns the answer to the question that is open, asking it if none is."""
        if self._asked is None:
            self._asked = self._suggestions()
        return self._asked

    def _suggestions(self) -> Genotypes:
        problem, told = self._problem, self._told
        found: list[Genotype] = []
        for _ in range(TRIES * self._batch):
            if len(found) == self._batch or not self._suggest(found):
                break
        rows = np.asarray(found, np.int32).reshape(-1, problem.space.genes)
        rng = np.random.default_rng([self._seed, told.generation])
        known = np.concatenate([told.told, rows])
        others = propose(
            problem,
            known,
            self._batch - len(rows),
            lambda count: problem.space.sample(count, rng),
        )
        return np.concatenate([rows, others])

    def _suggest(self, found: list[Genotype]) -> bool:
        """Adds a suggestion to those found, if it is one to evaluate.

        Returns whether the searcher had one.
        """
        trial = str(self._trials)
        self._trials += 1
        config = self._searcher.suggest(trial)
        if not isinstance(config, dict):
            return False
        row = np.asarray([[config[name] for name in self._names]], np.int32)
        valid = self._problem.space.valid(row)[0]
        row = self._problem.space.canonical(row)
        key = _key(row[0])
        if not valid:
            self._complete(trial, None, 1.0)
        elif key in self._outcomes:
            self._complete(trial, *self._outcomes[key])
        elif key in self._open:
            self._open[key].append(trial)
        elif (violation := float(self._problem.cheap_violations(row)[0])) > 0:
            self._outcomes[key] = (None, violation)
            self._complete(trial, None, violation)
        else:
            self._open[key] = [trial]
            found.append(row[0])
        return True

    def _tell(self, state: State, start: int, stop: int) -> None:
        """Tells the searcher some rows of a state, which it then is at."""
        rows = slice(start, stop)
        objectives, violations = state.objectives[rows], state.violations[rows]
        feasible = objectives[violations <= 0]
        if len(feasible):
            worst = [feasible.max(0)] + ([] if self._worst is None else [self._worst])
            self._worst = np.max(worst, axis=0)
        for row, values, violation in zip(
            state.told[rows], objectives, violations.tolist(), strict=True
        ):
            outcome = (values if violation <= 0 else None, violation)
            self._outcomes[_key(row)] = outcome
            for trial in self._open.pop(_key(row), ()):
                self._complete(trial, *outcome)
        # What was asked for and is not told now never will be.
        for trial in (t for trials in self._open.values() for t in trials):
            self._searcher.on_trial_complete(trial_id=trial, error=True)
        self._open = {}
        early = self._early.copy()
        self._early.clear()
        for trial, violation in early:
            self._complete(trial, None, violation)
        self._told = State(
            self._seed,
            self._told.generation + 1,
            state.told[:stop],
            state.objectives[:stop],
            state.violations[:stop],
            state.told[:stop],
        )
        self._asked = None

    def _complete(
        self,
        trial: str,
        objectives: Values | None,
        violation: float,
    ) -> None:
        """Tells how a trial ended; what broke a bound has no objectives.

        A searcher that knows nothing of bounds is told values that are worse than all
        feasible ones, the more the farther a bound was missed.
        """
        if objectives is None:
            if self._worst is None:
                self._early.append((trial, violation))
                return
            scale = np.where(self._worst == 0, 1.0, np.abs(self._worst))
            objectives = self._worst + scale * min(violation, WORST_VIOLATION)
        values = zip(self._problem.objectives, objectives.tolist(), strict=True)
        result = {**dict(values), VIOLATION: violation, "training_iteration": 1}
        self._searcher.on_trial_complete(trial_id=trial, result=result)


@dataclasses.dataclass(frozen=True, eq=False)
class _Living(State):
    """A state with the searcher that it was told to, which a file would not hold."""

    session: _Session

    @classmethod
    def of(cls, state: State, session: _Session) -> "_Living":
        return cls(
            state.seed,
            state.generation,
            state.genotypes,
            state.objectives,
            state.violations,
            state.told,
            session,
        )


def _key(row: Genotype) -> Key:
    return tuple(row.tolist())
