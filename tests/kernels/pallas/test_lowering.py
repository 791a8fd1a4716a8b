"""Lowering for TPUs and GPUs from a machine that has neither."""

import jax
import jax.numpy as jnp
import pytest
from jax import export

from kernels.feed_forward import FeedForwardWeights
from kernels.pallas.feed_forward import prefix_feed_forward
from kernels.pallas.prefix_matmul import prefix_matmul

pytestmark = pytest.mark.slow

PLATFORMS = {"tpu": "tpu", "triton": "cuda", "mosaic_gpu": "cuda"}

# Names of the compiled kernels, which `jax.export` does not promise to keep.
CALLS = {
    "tpu": "tpu_custom_call",
    "triton": "__gpu$xla.gpu.triton",
    "mosaic_gpu": "mosaic_gpu_v2",
}

SIZE = jax.ShapeDtypeStruct((), jnp.int32)

each_implementation = pytest.mark.parametrize("implementation", PLATFORMS)


def arrays(*shapes):
    return [jax.ShapeDtypeStruct(shape, jnp.bfloat16) for shape in shapes]


def kernels_of(function, implementation, *arguments) -> int:
    """Lowers a function and returns how many kernels are called."""
    exported = export.export(
        jax.jit(function),
        platforms=[PLATFORMS[implementation]],
        disabled_checks=[export.DisabledSafetyCheck.custom_call(CALLS[implementation])],
    )(*arguments)
    return exported.mlir_module().count(f"@{CALLS[implementation]}(")


@each_implementation
def test_products_and_their_gradients_lower(implementation):
    def multiply(x, weight, inputs, outputs):
        return prefix_matmul(x, weight, inputs, outputs, implementation=implementation)

    def loss(x, weight, inputs, outputs):
        return jnp.sum(multiply(x, weight, inputs, outputs).astype(jnp.float32))

    given = (*arrays((128, 192), (192, 128)), SIZE, SIZE)
    assert kernels_of(multiply, implementation, *given) == 1
    # The value is not needed, and the sum has no use for the first kernel.
    assert kernels_of(jax.grad(loss, (0, 1)), implementation, *given) == 2


@each_implementation
def test_networks_and_their_gradients_lower(implementation):
    def loss(x, up, down, gate, features, hidden):
        output = prefix_feed_forward(
            x,
            FeedForwardWeights(up, down, gate),
            features,
            hidden,
            implementation=implementation,
        )
        return jnp.sum(output.astype(jnp.float32))

    weights = arrays((64, 128), (128, 192), (192, 128), (128, 192))
    run = jax.value_and_grad(loss, (0, 1, 2, 3))
    forward = 3 if implementation == "mosaic_gpu" else 1
    assert kernels_of(run, implementation, *weights, SIZE, SIZE) == forward + 8


@pytest.mark.parametrize("implementation", ["mosaic_gpu", "triton"])
def test_a_population_lowers(implementation):
    def multiply(x, weight, inputs, outputs):
        return prefix_matmul(x, weight, inputs, outputs, implementation=implementation)

    sizes = jax.ShapeDtypeStruct((3,), jnp.int32)
    mapped = jax.vmap(multiply, (None, None, 0, 0))
    given = (*arrays((64, 64), (64, 64)), sizes, sizes)
    assert kernels_of(mapped, implementation, *given) == 1


def test_sizes_that_do_not_fit_wgmma_are_refused():
    with pytest.raises(ValueError, match="not all multiples of 64"):
        jax.eval_shape(
            lambda *a: prefix_matmul(*a, 1, 1, implementation="mosaic_gpu"),
            *arrays((64, 100), (100, 64)),
        )
