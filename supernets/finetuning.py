"""One extracted network on its own: trained further, and scored."""

import functools
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, PyTree

from supernets.evaluation import ATTACK_SEED, Inputs, Targets, scores
from supernets.losses.entropy import data_loss
from supernets.losses.loss import Batch
from supernets.losses.pgd import Pgd
from supernets.weights import Params


def finetune(
    network: nnx.Module,
    optimizer: optax.GradientTransformation,
    batches: Iterable[Batch],
    *,
    on_step: Callable[[float], None],
) -> None:
    """Trains a plain network on data, from the weights that it has.

    It minimises the cross-entropy, summed over tasks, as the largest subnet does while
    a supernet is trained. One program is compiled.

    Args:
        network: A function of inputs; its parameters are replaced.
        optimizer: Turns gradients into updates.
        batches: Of one size, an update for each.
        on_step: Told the loss of each, in nats.
    """
    graph, params = nnx.split(network)
    params = jax.tree.map(jnp.asarray, params)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(
        params: Params, state: optax.OptState, batch: Batch
    ) -> tuple[Params, optax.OptState, Float[Array, ""]]:
        def objective(params: Params) -> Float[Array, ""]:
            return data_loss(nnx.merge(graph, params)(batch.inputs), batch.targets)

        loss, gradient = jax.value_and_grad(objective)(params)
        # Optax mixes the types of steps and decays.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(gradient, state, params)
        return jax.tree.map(jnp.add, params, updates), state, loss

    # A copy, because a step gives its arguments' memory away.
    params = jax.tree.map(jnp.copy, params)
    state = optimizer.init(params)
    for batch in batches:
        params, state, loss = step(params, state, batch)
        on_step(float(loss))
    nnx.update(network, params)


def score_alone(
    network: nnx.Module,
    inputs: Inputs,
    targets: Targets,
    *,
    adversary: Pgd | None = None,
) -> dict[str, float]:
    """Returns the scores of a plain network; see `supernets.evaluation.scores`.

    Args:
        network: A function of inputs.
        inputs: Tokens, or images.
        targets: Classes, of several tasks by the task's name.
        adversary: If given, there is ``adversarial_error`` too, as in
            `supernets.evaluation.make_evaluate`.
    """
    graph, params = nnx.split(network)

    @jax.jit
    def score(params: Params, inputs: Array, targets: PyTree) -> dict[str, Array]:
        def logits(inputs: Array) -> PyTree:
            return nnx.merge(graph, params)(inputs)

        found = scores(logits(inputs), targets)
        if adversary is None:
            return found

        def harm(inputs: Array) -> Float[Array, ""]:
            return data_loss(logits(inputs), targets)

        changed = adversary.attack(harm, inputs, jax.random.key(ATTACK_SEED))
        attacked = scores(logits(changed), targets)["error"]
        return {**found, "adversarial_error": attacked}

    arrays = jax.tree.map(jnp.asarray, (params, inputs, targets))
    return {name: float(np.asarray(row)) for name, row in score(*arrays).items()}
