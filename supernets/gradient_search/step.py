"""One compiled step of a search by gradient."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from search.space import Space
from supernets.gradient_search.decisions import initial_logits
from supernets.gradient_search.expected_cost import Price, expected_cost
from supernets.gradient_search.moves import Moment, Moves
from supernets.gradient_search.network import MixedNetwork
from supernets.gradient_search.specs import Alternating, GradientSearch, TwoStage
from supernets.gradient_search.state import (
    ArchitectureState,
    Batches,
    SearchMetrics,
    SearchState,
)
from supernets.losses.loss import Batch
from supernets.weights import Params


def make_search_step(
    network: MixedNetwork,
    space: Space,
    spec: GradientSearch,
    prices: Mapping[str, Price] | None = None,
) -> "CompiledSearchStep":
    """Returns the jitted step; it compiles once, whatever the limits of its bounds.

    Args:
        network: Whose subnets are mixed.
        space: Its search space.
        spec: How it is searched.
        prices: What is bounded, by name: functions of canonical genotypes.

    Raises:
        ValueError: If a choice is not one of sizes, or a price is not finite.
    """
    prices = dict(prices or {})
    costs = tuple(
        expected_cost(space, price, samples=spec.samples) for price in prices.values()
    )
    step = _Step(Moves(network, space, spec, costs))
    # Weights that stand still belong to whoever gave them.
    donated = (0,) if isinstance(spec.regime, TwoStage) else (0, 1, 2)
    options = network.options or None
    program = jax.jit(step, donate_argnums=donated, compiler_options=options)
    return CompiledSearchStep(step.moves, program, prices)


class _Weights(NamedTuple):
    params: Params
    optimizer: optax.OptState | None


@dataclasses.dataclass(frozen=True, eq=False)
class _Step:
    moves: Moves

    def __call__(
        self,
        architecture: ArchitectureState,
        params: Params,
        optimizer: optax.OptState | None,
        batches: Batches,
        limits: Float[Array, " bounds"],
        key: Array,
        number: Int[Array, ""],
    ) -> tuple[ArchitectureState, _Weights | None, SearchMetrics]:
        moves, regime = self.moves, self.moves.spec.regime
        old = SearchState(architecture, params, optimizer)
        moment = Moment(limits, moves.progress(number))
        first, second, last = jax.random.split(jax.random.fold_in(key, number), 3)
        if isinstance(regime, TwoStage | Alternating):
            batch = _given(batches.architecture, "architecture")
            new, told = moves.architecture(old, batch, moment, key=first)
        else:
            batch = _given(batches.weights, "weights")
            new, told = moves.both(old, batch, moment, key=first)
        if isinstance(regime, Alternating):
            batch = _given(batches.weights, "weights")
            new, finite = moves.weights(new, batch, moment, key=second)
            told = told._replace(sound=told.sound & finite)
        kept = functools.partial(jax.tree.map, functools.partial(jnp.where, told.sound))
        moved, metrics = moves.multipliers(
            kept(new.architecture, old.architecture), told, moment, key=last
        )
        # What does not change is not handed on: that would copy it.
        weights = None
        if not isinstance(regime, TwoStage):
            weights = kept(_Weights(new.params, new.optimizer), _Weights(*old[1:]))
        return moved, weights, metrics


def _given(batch: Batch | None, name: str) -> Batch:
    if batch is None:
        raise ValueError(f"a step of this regime needs a batch: give Batches({name}=)")
    return batch


@dataclasses.dataclass(frozen=True, eq=False)
class CompiledSearchStep:
    """A step of a search, compiled when it is first run; see `make_search_step`.

    Attributes:
        moves: What it does, as functions.
        program: The same, jitted.
        prices: What is bounded, by name.
    """

    moves: Moves
    program: jax.stages.Wrapped
    prices: dict[str, Price]

    @property
    def spec(self) -> GradientSearch:
        """How is searched."""
        return self.moves.spec

    @property
    def space(self) -> Space:
        """What is searched."""
        return self.moves.space

    def initial_state(self, params: Params, *, key: Array) -> SearchState:
        """Returns the state before the first step.

        Args:
            params: Weights to start from. Those that learn are copied, since steps take
                over their memory.
            key: Of the first logits.
        """
        logits = initial_logits(self.space, key=key)
        multipliers = jnp.full(len(self.prices), self.spec.multipliers.initial)
        moments = self.moves.logits_optimizer().init(logits)
        architecture = ArchitectureState(logits, moments, multipliers)
        optimizer = self.moves.weights_optimizer()
        if optimizer is None:
            return SearchState(architecture, params)
        own = jax.tree.map(jnp.copy, params)
        return SearchState(architecture, own, optimizer.init(own))

    def mean_rows(
        self, state: SearchState, number: int
    ) -> Float[np.ndarray, "genes choices"]:
        """Returns the probabilities that a state stands for, by gene.

        Args:
            state: After a step.
            number: Of that step.
        """
        progress = self.moves.progress(jnp.asarray(number, jnp.int32))
        rows = self.moves.mean_rows(state.architecture.logits, progress)
        return np.asarray(rows, np.float64)

    def __call__(
        self,
        state: SearchState,
        batches: Batches,
        limits: Mapping[str, float],
        number: int,
        *,
        key: Array,
    ) -> tuple[SearchState, SearchMetrics]:
        """Runs a step; takes over the memory of the state, but not of frozen weights.

        Args:
            state: Before it.
            batches: What it learns from.
            limits: Largest legal values of what is bounded, positive.
            number: Of the step, from 0.
            key: Of the whole search.

        Raises:
            ValueError: If a batch or a limit is missing, or a limit not positive.
        """
        given = self._arguments(state, batches, limits, number, key)
        architecture, weights, metrics = self.program(*given)
        held = state._replace(architecture=architecture)
        return (
            held if weights is None else held._replace(**weights._asdict())
        ), metrics

    def lower(
        self,
        state: SearchState,
        batches: Batches,
        limits: Mapping[str, float],
        number: int,
        *,
        key: Array,
    ) -> jax.stages.Lowered:
        """Returns the lowered program; see `__call__`."""
        return self.program.lower(*self._arguments(state, batches, limits, number, key))

    def _arguments(
        self,
        state: SearchState,
        batches: Batches,
        limits: Mapping[str, float],
        number: int,
        key: Array,
    ) -> tuple[object, ...]:
        if limits.keys() != self.prices.keys():
            raise ValueError(
                f"limits of {sorted(limits)} were given; this search bounds "
                f"{sorted(self.prices)}"
            )
        if wrong := [name for name, limit in limits.items() if not limit > 0]:
            raise ValueError(
                f"the limit of {wrong[0]!r} must be positive, got {limits[wrong[0]]}"
            )
        row = jnp.asarray([limits[name] for name in self.prices], jnp.float32)
        return *state, batches, row, key, jnp.asarray(number, jnp.int32)
