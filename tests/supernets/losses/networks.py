"""A tiny network that reads images, for losses to train."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from supernets.losses.loss import Batch, Lesson, Outputs
from tests.kernels.comparison import normal, quick_jit

CLASSES, IMAGE, FEATURES, DEPTHS = 5, (2, 2, 1), 6, (1, 2, 3)


@dataclasses.dataclass(frozen=True)
class ImageNetwork:
    """A residual network on flattened images; the width and the tasks may vary."""

    weights: dict
    width: int = FEATURES
    depths: tuple[int, ...] = DEPTHS

    def __call__(self, inputs) -> Outputs:
        return self.exits(inputs)[-1]

    def detached(self) -> "ImageNetwork":
        weights = jax.lax.stop_gradient(self.weights)
        return dataclasses.replace(self, weights=weights)

    def exits(self, inputs) -> tuple[Outputs, ...]:
        x = (
            jnp.reshape(inputs, (inputs.shape[0], -1)).astype(jnp.float32)
            @ self.weights["embedding"]
        )
        read = []
        for number, layer in enumerate(self.weights["layers"], start=1):
            x = x + jnp.tanh(x @ layer)
            if number in self.depths:
                read.append(self._read(x))
        return tuple(read)

    def _read(self, x) -> Outputs:
        active = (jnp.arange(FEATURES) < self.width).astype(x.dtype)
        x = x * active[None]
        logits = jax.tree.map(lambda head: x @ head, self.weights["head"])
        return Outputs(logits, x, active)


def image_weights(*, tasks: bool, seed: int = 0) -> dict:
    shapes = {"coarse": (FEATURES, 2), "fine": (FEATURES, CLASSES)}
    heads = {name: normal(shape, seed + 20) for name, shape in shapes.items()}
    return {
        "embedding": normal((np.prod(IMAGE), FEATURES), seed),
        "layers": [normal((FEATURES, FEATURES), seed + 1 + i, 0.5) for i in range(3)],
        "head": heads if tasks else heads["fine"],
    }


def image_batch(*, tasks: bool, size: int = 4, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    images = rng.uniform(size=(size, *IMAGE)).astype(np.float32)
    fine = rng.integers(0, CLASSES, size).astype(np.int32)
    targets = {"coarse": fine % 2, "fine": fine} if tasks else fine
    return Batch(jnp.asarray(images), jax.tree.map(jnp.asarray, targets))


def lesson(loss, network, batch, teacher=None, seed=0) -> Lesson:
    """What a loss gives, with the key of a seed."""
    return _learnt(loss, network, batch, teacher, seed)[0]


def weight_gradient(loss, network, batch, teacher=None, seed=0) -> dict:
    """The gradient of what a loss gives, to the weights."""
    return _learnt(loss, network, batch, teacher, seed)[1]


def _learnt(loss, network, batch, teacher, seed):
    run = _compiled(loss, network.width, network.depths)
    return run(network.weights, batch, teacher, jax.random.key(seed))


@functools.cache
def _compiled(loss, width, depths):
    def run(weights, *operands):
        def objective(weights):
            found = loss(ImageNetwork(weights, width, depths), *operands)
            return found.objective, found

        gradient, found = jax.grad(objective, has_aux=True)(weights)
        return found, gradient

    return quick_jit(run)


def image_outputs(network, batch) -> Outputs:
    """What a network gives for the inputs of a batch."""
    return quick_jit(lambda inputs: network(inputs))(batch.inputs)
