"""What a step of a search by gradient does to logits, weights and multipliers."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from search.space import Space
from supernets.activity import update_active
from supernets.gradient_search.decisions import (
    Decisions,
    gene_rows,
    most_probable,
    one_hot_rows,
)
from supernets.gradient_search.expected_cost import ExpectedCost
from supernets.gradient_search.network import MixedNetwork
from supernets.gradient_search.samplings import Sampling
from supernets.gradient_search.specs import Alternating, GradientSearch, TwoStage
from supernets.gradient_search.state import (
    ArchitectureState,
    SearchMetrics,
    SearchState,
)
from supernets.losses.loss import Batch
from supernets.lowering import mixed_extents
from supernets.weights import Params

BETAS = (0.5, 0.999)
"""Decays of the moments of the logits, those of DARTS, DrNAS, GDAS and TangleNAS."""


class Moment(NamedTuple):
    """What of a step is the same for all that moves in it.

    Attributes:
        limits: Of the bounds.
        progress: From 0 at the first step to 1 at the last.
    """

    limits: Float[Array, " bounds"]
    progress: Float[Array, ""]


class Learnt(NamedTuple):
    """What the architecture makes of a batch: loss, and the mixture that it ran."""

    loss: Float[Array, ""]
    mixture: Decisions


class Told(NamedTuple):
    """What is told of a gradient: its loss and norm, and whether all is finite."""

    loss: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    sound: Array


@dataclasses.dataclass(frozen=True, eq=False)
class Moves:
    """How states move.

    Attributes:
        network: Whose subnets are mixed.
        space: Its search space.
        spec: How it is searched.
        costs: What is bounded.
    """

    network: MixedNetwork
    space: Space
    spec: GradientSearch
    costs: tuple[ExpectedCost, ...]

    def progress(self, number: Int[Array, ""]) -> Float[Array, ""]:
        """Returns how much of the search is done at a step: 0 at the first."""
        return number / max(self.spec.steps - 1, 1)

    def logits_optimizer(self) -> optax.GradientTransformation:
        """Returns what moves the logits."""
        return optax.chain(
            optax.clip_by_global_norm(self.spec.clip),
            optax.add_decayed_weights(self.spec.weight_decay),
            optax.scale_by_adam(*BETAS),
            optax.scale(-self.spec.learning_rate),
        )

    def weights_optimizer(self) -> optax.GradientTransformation | None:
        """Returns what moves the weights, if they move."""
        regime = self.spec.regime
        if isinstance(regime, TwoStage):
            return None
        return regime.optimizer.transform(self.spec.steps)

    def architecture(
        self, state: SearchState, batch: Batch, moment: Moment, *, key: Array
    ) -> tuple[SearchState, Told]:
        """Moves the logits; the weights stand still."""

        def objective(logits: Decisions) -> tuple[Array, Learnt]:
            return self._objective(logits, state, batch, moment, key)

        gradient, learnt = jax.grad(objective, has_aux=True)(state.architecture.logits)
        norm = optax.tree.norm(gradient)
        told = Told(learnt.loss, norm, jnp.isfinite(norm))
        return self._with_logits(state, gradient), told

    def weights(
        self, state: SearchState, batch: Batch, moment: Moment, *, key: Array
    ) -> tuple[SearchState, Array]:
        """Moves the weights, and tells whether their gradient is finite."""
        regime = self.spec.regime
        own = regime.sampling if isinstance(regime, Alternating) else None
        sampling = own or self.spec.sampling
        mixture = self._mixture(sampling, state.architecture.logits, moment, key)
        extents = mixed_extents(self.space, mixture)

        def objective(params: Params) -> Array:
            return self.network.loss(params, extents, batch)

        gradient = jax.grad(objective)(state.params)
        new = self._with_params(state, gradient, sampling, mixture)
        return new, jnp.isfinite(optax.tree.norm(gradient))

    def both(
        self, state: SearchState, batch: Batch, moment: Moment, *, key: Array
    ) -> tuple[SearchState, Told]:
        """Moves logits and weights by one gradient."""

        def objective(logits: Decisions, params: Params) -> tuple[Array, Learnt]:
            held = state._replace(params=params)
            return self._objective(logits, held, batch, moment, key)

        slopes = jax.grad(objective, argnums=(0, 1), has_aux=True)
        (of_logits, of_params), learnt = slopes(state.architecture.logits, state.params)
        moved = self._with_logits(state, of_logits)
        new = self._with_params(moved, of_params, self.spec.sampling, learnt.mixture)
        sound = jnp.isfinite(optax.tree.norm((of_logits, of_params)))
        return new, Told(learnt.loss, optax.tree.norm(of_logits), sound)

    def multipliers(
        self, state: ArchitectureState, told: Told, moment: Moment, *, key: Array
    ) -> tuple[ArchitectureState, SearchMetrics]:
        """Moves the multipliers by the subnet that the architecture stands for."""
        mean_key, decoded_key = jax.random.split(key)
        rows = self.mean_rows(state.logits, moment.progress)
        genotype = most_probable(self.space, rows)
        hot = one_hot_rows(self.space, genotype)
        decoded = self._shares(hot, moment, decoded_key)
        old, rate = state.multipliers, self.spec.multipliers.rate
        risen = jnp.maximum(old + rate * (decoded - 1.0), 0.0)
        new = jnp.where(told.sound, risen, old)
        metrics = SearchMetrics(
            loss=told.loss,
            costs=self._shares(rows, moment, mean_key),
            genotype=genotype,
            decoded_costs=decoded,
            multipliers=new,
            certainty=jnp.mean(jnp.max(rows, axis=1)),
            gradient_norm=told.gradient_norm,
        )
        return state._replace(multipliers=new), metrics

    def _objective(
        self,
        logits: Decisions,
        state: SearchState,
        batch: Batch,
        moment: Moment,
        key: Array,
    ) -> tuple[Array, Learnt]:
        """Returns the Lagrangian: loss, penalty, and what bounds press for."""
        draw_key, cost_key = jax.random.split(key)
        sampling = self.spec.sampling
        mixture = self._mixture(sampling, logits, moment, draw_key)
        extents = mixed_extents(self.space, mixture)
        loss = self.network.loss(state.params, extents, batch)
        shares = self._shares(self.mean_rows(logits, moment.progress), moment, cost_key)
        pressure = jnp.sum(state.architecture.multipliers * (shares - 1.0))
        penalty = sum(map(sampling.penalty, logits.values()), start=jnp.zeros(()))
        return loss + pressure + penalty, Learnt(loss, mixture)

    def _mixture(
        self, sampling: Sampling, logits: Decisions, moment: Moment, key: Array
    ) -> Decisions:
        keys = jax.random.split(key, len(logits))
        return {
            name: sampling.draw(row, moment.progress, key=keys[index])
            for index, (name, row) in enumerate(logits.items())
        }

    def mean_rows(
        self, logits: Decisions, progress: Float[Array, ""]
    ) -> Float[Array, "genes _"]:
        """Returns the probabilities that logits stand for, by gene."""
        mean = self.spec.sampling.mean
        return gene_rows(
            self.space, {name: mean(z, progress) for name, z in logits.items()}
        )

    def _shares(self, rows: Array, moment: Moment, key: Array) -> Array:
        """Returns expected costs as shares of their limits."""
        if not self.costs:
            return jnp.zeros(0)
        keys = jax.random.split(key, len(self.costs))
        found = [cost(rows, key=keys[row]) for row, cost in enumerate(self.costs)]
        return jnp.stack(found) / moment.limits

    def _with_logits(self, state: SearchState, gradient: Decisions) -> SearchState:
        logits, optimizer, multipliers = state.architecture
        # Optax adds whole to real numbers, which a program may have forbidden.
        with jax.numpy_dtype_promotion("standard"):
            updates, kept = self.logits_optimizer().update(gradient, optimizer, logits)
        moved = jax.tree.map(jnp.add, logits, updates)
        return state._replace(architecture=ArchitectureState(moved, kept, multipliers))

    def _with_params(
        self,
        state: SearchState,
        gradient: Params,
        sampling: Sampling,
        mixture: Decisions,
    ) -> SearchState:
        optimizer = self.weights_optimizer()
        if optimizer is None or state.optimizer is None:
            raise ValueError("the weights of this search stand still")
        # Soft mixtures use every weight.
        used = mixed_extents(self.space, mixture)
        active = self.network.active(used) if sampling.hard else None
        params, kept = update_active(
            optimizer, gradient, active, state.params, state.optimizer
        )
        return state._replace(params=params, optimizer=kept)
