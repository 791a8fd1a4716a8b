"""Training one network of every precision, in few bits or in 16."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from experiments.benchmarks.window_losses import losses_of_parts
from kernels.quantization.scheme import FLOAT_WIDTH
from nas import AdamW, Decoder, StdlibText
from nas.data.dataset import Split
from search.space import Genotype, Genotypes, Space
from supernets.evaluation import Evaluate, make_evaluate
from supernets.losses.loss import Batch
from supernets.losses.losses import Losses
from supernets.policies.policy import Draw, Moment, Policy, Slot, Subnets, draw_of
from supernets.quantization.calibration import calibrated
from supernets.quantization.precision import WEIGHT_BITS, Mechanism, Precision
from supernets.training import TrainState, TrainStep, initial_state, make_train_step
from supernets.weights import Params

CALIBRATION_WINDOWS = 32
"""Windows of the training text on which scales and layers are judged."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """What all trainings share.

    Attributes:
        model: The network, of one shape, without a precision.
        bits: Choices of the bits of each layer's weights, ascending; without 16.
        data: What it learns.
        batch: Windows in a step.
        windows: Windows of each split that losses are means over.
        final: Windows of the search split that the best assignments of bits are
            compared on once more.
        optimizer: Of either half of a training; each begins anew.
    """

    model: Decoder
    bits: tuple[int, ...]
    data: StdlibText
    batch: int
    windows: int
    final: int
    optimizer: AdamW

    def precise(
        self, *, whole: bool = False, mechanism: Mechanism = "learned"
    ) -> Decoder:
        """Returns the network whose layers choose their bits.

        Args:
            whole: Whether 16 bits are among the choices. Parameters are the same.
            mechanism: Where the codes of each width come from.
        """
        weights = (*self.bits, FLOAT_WIDTH) if whole else self.bits
        precision = Precision(weights=weights, mechanism=mechanism)
        return dataclasses.replace(self.model, precision=precision)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Alone:
    """Each step trains all layers in the same bits, and nothing else."""

    bits: int
    """Of every layer."""

    def slots(self, space: Space) -> tuple[Slot, ...]:  # noqa: ARG002 - as all policies
        """The one."""
        return (Slot(role="alone"),)

    def draw(self, subnets: Subnets, moment: Moment) -> Draw:  # noqa: ARG002
        """Fills its slot."""
        return draw_of(uniform(subnets.space, self.bits)[None])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What is trained.

    Attributes:
        policy: Which bits a step trains.
        losses: What they learn from.
        whole: Whether 16 bits are among the choices.
        mechanism: Where the codes of each width come from.
    """

    policy: Policy
    losses: Losses = Losses()
    whole: bool = False
    mechanism: Mechanism = "learned"


def uniform(space: Space, bits: int) -> Genotype:
    """Returns the assignment of the same bits to all layers."""
    genotype = space.largest.copy()
    genotype[space.slices[WEIGHT_BITS]] = space.axes[WEIGHT_BITS].index(bits)
    return genotype


class Trainer:
    """Trains; programs that are alike are compiled once.

    Attributes:
        setting: What all trainings share.
        steps: Of either half.
    """

    def __init__(self, setting: Setting, steps: int) -> None:
        self.setting = setting
        self.steps = steps
        self._steps: dict[tuple[Decoder, tuple[Slot, ...], Losses], TrainStep] = {}

    def whole(self, seed: int) -> Params:
        """Returns the weights after the first half, in 16 bits.

        Args:
            seed: Of first weights and of data.
        """
        job = Job(policy=Alone(bits=FLOAT_WIDTH), whole=True)
        network = self.setting.precise(whole=True).build(rngs=nnx.Rngs(seed))
        return self._trained(job, nnx.state(network, nnx.Param), seed, first=0)

    def finished(self, job: Job, start: Params, seed: int) -> Params:
        """Returns the weights after the second half, before which scales are set.

        The same seed gives the same data in the same order, whatever is trained.

        Args:
            job: What it trains.
            start: Weights after the first half.
            seed: Of data.
        """
        params = self.rounded(start, seed, mechanism=job.mechanism)
        return self._trained(job, params, seed, first=self.steps)

    def rounded(
        self, params: Params, seed: int, *, mechanism: Mechanism = "learned"
    ) -> Params:
        """Returns weights with the scales that are best for them, without training.

        Args:
            params: Of the network, of whichever mechanism.
            seed: Of the data that the scales of activations would be taken of.
            mechanism: Of what is returned.
        """
        model = self.setting.precise(mechanism=mechanism)
        network = model.build(rngs=nnx.Rngs(seed))
        taken = adopted(nnx.state(network, nnx.Param), params)
        state = TrainState(taken, ())
        inputs = self.calibration_inputs(seed)
        return calibrated(network, model.space(), state, inputs).params

    def calibration_inputs(self, seed: int) -> jax.Array:
        """Returns windows of the training text, others than steps read."""
        data = self.setting.data
        found = data.batch(size=CALIBRATION_WINDOWS, seed=seed, step=2 * self.steps)
        return jnp.asarray(found.inputs)

    def losses(
        self,
        params: Params,
        genotypes: Genotypes,
        split: Split,
        *,
        whole: bool = False,
        mechanism: Mechanism = "learned",
    ) -> list[float]:
        """Returns the loss of each assignment of bits on a split, in nats per byte."""
        model = self.setting.precise(whole=whole, mechanism=mechanism)
        count = self.setting.windows
        by_part = self.losses_of_parts(params, genotypes, split, model, count)
        return by_part[:, 0].tolist()

    def losses_of_parts(
        self,
        params: Params,
        genotypes: Genotypes,
        split: Split,
        model: Decoder,
        windows: int,
        parts: int = 1,
    ) -> Float[np.ndarray, "assignments parts"]:
        """Returns the same for parts of a split that follow each other.

        Args:
            params: Of the network.
            genotypes: Assignments of bits.
            split: Of the data.
            model: As `Setting.precise` returns it.
            windows: How many, of all parts.
            parts: How many; they divide the windows.
        """
        data = self.setting.data.fixed(split, windows)
        return losses_of_parts(self._evaluate(model), params, genotypes, data, parts)

    def of_widths(
        self,
        params: Params,
        bits: Sequence[int],
        split: Split,
        *,
        mechanism: Mechanism = "learned",
    ) -> list[float]:
        """Returns the loss with all layers in the same bits, for each of some bits."""
        whole = FLOAT_WIDTH in bits
        space = self.setting.precise(whole=whole, mechanism=mechanism).space()
        rows = np.stack([uniform(space, width) for width in bits])
        return self.losses(params, rows, split, whole=whole, mechanism=mechanism)

    def network(self, model: Decoder) -> nnx.Module:
        """Returns a network with shapes in place of parameters."""
        return nnx.eval_shape(lambda: model.build(rngs=nnx.Rngs(0)))

    def _trained(self, job: Job, params: Params, seed: int, *, first: int) -> Params:
        model = self.setting.precise(whole=job.whole, mechanism=job.mechanism)
        space, optimizer = model.space(), self.setting.optimizer
        example = self.setting.data.example
        subnets = Subnets(
            space, lambda rows: model.costs(rows, batch=1, example=example)["bops"]
        )
        network = self.network(model)
        nnx.update(network, jax.tree.map(jnp.copy, params))
        state = initial_state(network, optimizer.transform(self.steps))
        step = self._step(model, job.policy.slots(space), job.losses)
        for number in range(self.steps):
            draw = job.policy.draw(subnets, Moment(seed, number, self.steps))
            data = self.setting.data.batch(
                size=self.setting.batch, seed=seed, step=first + number
            )
            state, metrics = step(state, Batch(*map(jnp.asarray, data)), draw, number)
            if not np.isfinite(metrics.gradient_norm):
                raise FloatingPointError(
                    f"the gradient of {job} is not finite at step {number}, seed {seed}"
                )
        return jax.block_until_ready(state.params)

    def _step(
        self, model: Decoder, slots: tuple[Slot, ...], losses: Losses
    ) -> TrainStep:
        key = model, slots, losses
        if key not in self._steps:
            optimizer = self.setting.optimizer.transform(self.steps)
            self._steps[key] = make_train_step(
                self.network(model), model.space(), optimizer, slots, losses=losses
            )
        return self._steps[key]

    @functools.cache  # noqa: B019 - a trainer lives as long as the process
    def _evaluate(self, model: Decoder) -> Evaluate:
        return make_evaluate(self.network(model), model.space())


def adopted(own: Params, given: Params) -> Params:
    """Returns parameters with those of another network where both have the same.

    Scales differ where one network has them for every width and the other for all.
    """
    others = dict(nnx.to_flat_state(given))
    merged = [
        (path, others[path] if others[path].shape == variable.shape else variable)
        for path, variable in nnx.to_flat_state(own)
    ]
    return nnx.from_flat_state(merged)
