"""The whole sandwich step against the sum of what `Fixed` programs make it of."""

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from experiments.benchmarks.execution_cases import EXECUTIONS, Logits, Supernet, Tokens
from experiments.benchmarks.execution_rounds import (
    Program,
    Run,
    Samples,
    against,
    alternate,
    median,
)
from kernels.extents import Execution
from search.space import Genotype, Genotypes
from supernets.losses.distillation import Distillation
from supernets.losses.entropy import cross_entropy, distillation
from supernets.losses.loss import Batch
from supernets.losses.losses import Losses
from supernets.lowering import fixed_extents
from supernets.optimizers.adamw import AdamW
from supernets.policies.policy import Draw, Moment, Subnets
from supernets.policies.sandwich import Sandwich
from supernets.training import TrainState, initial_state, make_train_step
from supernets.weights import Params

STEPS = 10_000
"""Length of the learning-rate schedule, longer than a measurement."""

PAIRS = 2
"""Pairs of random subnets that a sandwich step is measured with."""

SHARE = 0.5
"""Share of the largest subnet's predictions in what the others learn from."""

PARTS = ("largest", "smallest", "first random", "second random", "update")


class Trainer:
    """The sandwich step, and the pieces a program for each subnet would make of it.

    Args:
        supernet: The supernet.
    """

    def __init__(self, supernet: Supernet) -> None:
        self.supernet = supernet
        self.sandwich = Sandwich()
        self.slots = self.sandwich.slots(supernet.space)
        self.subnets = Subnets(supernet.space, supernet.subject.macs)
        self.optimizer = AdamW().transform(STEPS)

    def state(self) -> TrainState:
        """Returns a state whose arrays nobody else holds: steps give them away."""
        state = initial_state(self.supernet.network, self.optimizer)
        return jax.tree.map(jnp.copy, state)

    def step(self, execution: Execution) -> tuple[Callable[[Draw], None], float]:
        """Returns a step that trains a draw, and the seconds of its first."""
        supernet = self.supernet
        train = make_train_step(
            supernet.network,
            supernet.space,
            self.optimizer,
            self.slots,
            losses=Losses(taught=Distillation(share=SHARE)),
            execution=execution,
        )
        batch = Batch(supernet.inputs, supernet.targets)
        state = self.state()

        def run(draw: Draw) -> None:
            nonlocal state
            state, _ = train(state, batch, draw, 0)
            jax.block_until_ready(state)

        start = time.perf_counter()
        run(self.draw(0))
        return run, time.perf_counter() - start

    def draw(self, number: int) -> Draw:
        """Returns what a step trains."""
        return self.sandwich.draw(self.subnets, Moment(0, number, STEPS))

    def teacher(self) -> Program:
        """Compiles the gradient of the largest, which returns its logits too."""
        extents = fixed_extents(self.supernet.space, self.supernet.space.largest)

        def loss(
            params: Params, inputs: Tokens, targets: Tokens
        ) -> tuple[Float[Array, ""], Logits]:
            logits = self.supernet.predict(extents, params, inputs)
            return cross_entropy(logits, targets), logits

        gradient = jax.value_and_grad(loss, has_aux=True)
        return Program.of(gradient, *self.supernet.operands)

    def student(self, genotype: Genotype, teacher: Logits) -> Program:
        """Compiles the gradient of another subnet, which learns from logits too."""
        extents = fixed_extents(self.supernet.space, genotype)

        def loss(
            params: Params, inputs: Tokens, targets: Tokens, teacher: Logits
        ) -> Float[Array, ""]:
            logits = self.supernet.predict(extents, params, inputs)
            data = cross_entropy(logits, targets)
            return (1 - SHARE) * data + SHARE * distillation(logits, teacher)

        gradient = jax.value_and_grad(loss)
        return Program.of(gradient, *self.supernet.operands, teacher)

    def update(self, gradients: list[Params]) -> tuple[Run, Program]:
        """Compiles and readies the mean of gradients and the optimiser's step."""

        def apply(state: TrainState, gradients: list[Params]) -> TrainState:
            total = functools.reduce(optax.tree.add, gradients)
            mean = optax.tree.scale(1 / len(gradients), total)
            # Optax adds whole to real numbers, which this program has forbidden.
            with jax.numpy_dtype_promotion("standard"):
                updates, kept = self.optimizer.update(
                    mean, state.optimizer, state.params
                )
            return TrainState(jax.tree.map(jnp.add, state.params, updates), kept)

        state = self.state()
        program = Program.of(apply, state, gradients, donated=(0,))

        def run() -> None:
            nonlocal state
            state = jax.block_until_ready(program.call(state, gradients))

        return run, program


def random_subnets(draw: Draw) -> Genotypes:
    """Returns the subnets of a sandwich beside the largest and the smallest."""
    return draw.genotypes[2:, 0]


def measure_sandwich(supernet: Supernet, *, rounds: int) -> dict[str, Any]:
    """Times the whole step against the sum of what it would be made of.

    The parts are `Fixed` programs: the gradient of the largest, those of the three
    others given its logits, and the mean of the four with the optimiser's update.
    """
    trainer = Trainer(supernet)
    steps = {name: trainer.step(name) for name in EXECUTIONS}
    teacher = trainer.teacher()
    (_, logits), gradient = teacher.call(*supernet.operands)
    # Of separate memory, as the gradients of separate subnets are.
    update, updating = trainer.update(
        [jax.tree.map(jnp.copy, gradient) for _ in trainer.slots]
    )
    small = trainer.student(supernet.space.smallest, logits)
    programs = [teacher, small, updating]
    cases: dict[int, dict[str, Run]] = {}
    for number in range(PAIRS):
        draw = trainer.draw(number)
        pair = random_subnets(draw)
        students = [trainer.student(genotype, logits) for genotype in pair]
        programs += students
        operands = (*supernet.operands, logits)
        parts = [
            teacher.bound(*supernet.operands),
            *(program.bound(*operands) for program in (small, *students)),
            update,
        ]
        cases[number] = {
            **{name: functools.partial(run, draw) for name, (run, _) in steps.items()},
            **dict(zip(PARTS, parts, strict=True)),
        }
    samples = alternate(cases, rounds=rounds, label="sandwich")
    return _sandwich(list(samples.values())) | {
        "first_step_seconds": {
            n: round(seconds, 3) for n, (_, seconds) in steps.items()
        },
        "fixed_programs": len(programs),
        "fixed_compile_seconds": round(sum(p.compile_seconds for p in programs), 3),
    }


def _sandwich(samples: list[Samples]) -> dict[str, Any]:
    """Takes the mean over pairs of every round."""
    mean = {way: np.mean([pair[way] for pair in samples], 0) for way in samples[0]}
    parts = np.sum([mean[part] for part in PARTS], 0)
    return {
        "pairs": len(samples),
        "fixed": {
            "ms": median(parts),
            "parts_ms": {part: median(mean[part]) for part in PARTS},
        },
        **{name: against(mean[name], parts) for name in EXECUTIONS},
    }
