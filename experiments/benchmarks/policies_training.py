"""One training loop for supernets and for networks alone, and what its steps take."""

import dataclasses
import random
import time
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from experiments.benchmarks.window_losses import AT_ONCE, losses_of_parts
from nas import AdamW, Decoder, Phase, StdlibText
from nas.data.dataset import Split
from nas.forecast import mean_work
from search.space import Genotypes, Space
from supernets.evaluation import make_evaluate
from supernets.losses.loss import Batch
from supernets.losses.losses import Losses
from supernets.phases import Plan, Step
from supernets.policies.policy import Slot
from supernets.slots import Examples
from supernets.training import TrainState, TrainStep, initial_state, make_train_step
from supernets.weights import Params

SPLITS: tuple[Split, ...] = ("search", "test")

PROBES = 12
"""Steps of a plan that are timed for all of them."""

Tell = Callable[[int], None]
"""Is told how many steps are done."""

Scores = dict[str, list[float]]
"""By split, the loss of each subnet in nats per byte."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """What all trainings of a comparison share.

    Attributes:
        model: The supernet.
        data: What it learns.
        batch: Windows in a step.
        windows: Windows of each split that losses are means over, in parts of equal
            size: a multiple of `AT_ONCE`, or fewer.

    Raises:
        ValueError: If the windows do not part into equal sizes.
    """

    model: Decoder
    data: StdlibText
    batch: int
    windows: int

    def __post_init__(self) -> None:
        if self.windows > AT_ONCE and self.windows % AT_ONCE:
            raise ValueError(
                f"windows must be at most {AT_ONCE} or a multiple of it, "
                f"got {self.windows}"
            )

    def cost(self, genotypes: Genotypes) -> Float[np.ndarray, " population"]:
        """Returns the multiply-accumulates of subnets for one window."""
        example = self.data.example
        return self.model.costs(genotypes, batch=1, example=example)["macs"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained.

    Attributes:
        phases: Which subnets are trained when, and on what.
        optimizer: How their gradient becomes an update.
    """

    phases: tuple[Phase, ...]
    optimizer: AdamW

    def at_rate(self, rate: float) -> "Recipe":
        """Returns the recipe at another peak learning rate."""
        optimizer = dataclasses.replace(self.optimizer, learning_rate=rate)
        return dataclasses.replace(self, optimizer=optimizer)


class Trainer:
    """Trains one model by any recipe; programs that are alike are compiled once.

    Attributes:
        setting: With the model.
        space: Of the model.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.space: Space = setting.model.space()
        model = setting.model
        self._network = nnx.eval_shape(lambda: model.build(rngs=nnx.Rngs(0)))
        self._evaluate = make_evaluate(self._network, self.space)
        self._steps: dict[
            tuple[tuple[Slot, ...], Losses, AdamW, Examples, int], TrainStep
        ] = {}

    def plan(self, recipe: Recipe, *, steps: int, seed: int) -> Plan:
        """Returns what each step trains."""
        return Plan(
            phases=recipe.phases,
            steps=steps,
            whole=self.space,
            cost=self.setting.cost,
            seed=seed,
        )

    def train(self, recipe: Recipe, *, steps: int, seed: int, tell: Tell) -> Params:
        """Returns trained weights.

        The same seed gives the same data in the same order, whatever is trained.

        Args:
            recipe: How.
            steps: Updates.
            seed: Of initial weights, data and draws.
            tell: Is called after each step.
        """
        plan = self.plan(recipe, steps=steps, seed=seed)
        state = self.start(recipe, steps=steps, seed=seed)
        for number in range(steps):
            state = self.advance(recipe, plan, number, state, plan.step(number))
            tell(number + 1)
        return state.params

    def start(self, recipe: Recipe, *, steps: int, seed: int) -> TrainState:
        """Returns the state before the first step."""
        network = self.setting.model.build(rngs=nnx.Rngs(seed))
        return initial_state(network, recipe.optimizer.transform(steps))

    def advance(
        self,
        recipe: Recipe,
        plan: Plan,
        number: int,
        state: TrainState,
        planned: Step,
    ) -> TrainState:
        """Returns the state after a step, computed to the end."""
        setting, step = self.setting, self._step(recipe, planned.phase, plan.steps)
        size = recipe.phases[planned.phase].batch_size(self.space, setting.batch)
        # The first slot sees what it would see if all saw the same.
        data = setting.data.batch(size=size, seed=plan.seed, step=number)
        batch = Batch(*map(jnp.asarray, data))
        state, metrics = step(state, batch, planned.draw, number)
        if not np.isfinite(metrics.gradient_norm):
            raise FloatingPointError(
                f"the gradient is not finite at step {number} of seed {plan.seed} at "
                f"the learning rate {recipe.optimizer.learning_rate}"
            )
        return jax.block_until_ready(state)

    def _step(self, recipe: Recipe, phase: int, steps: int) -> TrainStep:
        """Returns the compiled step of a phase. No noise depends on the seed."""
        chosen = recipe.phases[phase]
        slots, optimizer = chosen.slots(self.space), recipe.optimizer
        key = slots, chosen.losses, optimizer, chosen.examples, steps
        if key not in self._steps:
            self._steps[key] = make_train_step(
                self._network,
                self.space,
                optimizer.transform(steps),
                slots,
                losses=chosen.losses,
                examples=chosen.examples,
            )
        return self._steps[key]

    def losses(self, params: Params, genotypes: Genotypes) -> Scores:
        """Returns the losses of subnets on the search and the test split, in nats."""
        return {split: self._mean(params, genotypes, split) for split in SPLITS}

    def _mean(self, params: Params, genotypes: Genotypes, split: Split) -> list[float]:
        data = self.setting.data.fixed(split, self.setting.windows)
        losses = losses_of_parts(self._evaluate, params, genotypes, data)
        return losses[:, 0].tolist()


def step_times(
    trainer: Trainer,
    recipes: Mapping[str, Recipe],
    *,
    steps: int,
    rounds: int,
) -> dict[str, list[float]]:
    """Returns the processor milliseconds of a mean step, for every round.

    In a round all recipes take the same number of steps, in random order and one right
    after the other, so that what slows the machine down slows all of them. Which
    subnets the few steps happen to draw is allowed for by their multiply-accumulates.

    Args:
        trainer: Trains them.
        recipes: By name.
        steps: Of the whole training, of which some are timed.
        rounds: How often.
    """
    order = random.Random(0)
    numbers = np.linspace(0, steps - 1, min(PROBES, steps)).astype(int).tolist()
    plans = {n: trainer.plan(r, steps=steps, seed=0) for n, r in recipes.items()}
    states = {n: trainer.start(r, steps=steps, seed=0) for n, r in recipes.items()}
    share = {
        name: mean_work(plan).macs / mean_work(plan, numbers).macs
        for name, plan in plans.items()
    }
    found: dict[str, list[float]] = {name: [] for name in recipes}
    for count in range(rounds + 1):
        spent = dict.fromkeys(recipes, 0.0)
        for number in numbers:
            for name in order.sample(list(recipes), len(recipes)):
                planned = plans[name].step(number)
                operands = recipes[name], plans[name], number, states[name], planned
                start = time.process_time()
                states[name] = trainer.advance(*operands)
                spent[name] += time.process_time() - start
        if count > 0:  # The first compiles.
            for name, seconds in spent.items():
                found[name].append(1e3 * seconds / len(numbers) * share[name])
    return found
