"""JAX's simulators, which have memories and copies that interpret mode has not."""

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.pallas import tpu as pltpu

from kernels.pallas.feed_forward import prefix_feed_forward
from kernels.pallas.prefix_matmul import prefix_matmul
from tests.kernels.comparison import assert_close, assert_equal, whole
from tests.kernels.pallas.reference import (
    TILES,
    arrays,
    masked_feed_forward,
    network,
    only,
    only_active,
    padded,
)

# Default runs leave out what only repeats the work of smaller tests.
pytestmark = pytest.mark.slow


@pytest.fixture
def gpu_simulator():
    """JAX interprets Mosaic GPU kernels inside a context that it keeps private."""
    params = pytest.importorskip(
        "jax._src.pallas.mosaic_gpu.interpret.params",
        reason="this JAX has no simulator of GPUs",
    )
    return params.force_gpu_interpret_mode(params.InterpretGPUParams())


def test_the_simulator_of_tpus_agrees_on_a_product():
    x, weight = whole((20, 40), 0), whole((40, 24), 1)
    given = arrays(only(x, 20, 19), only(weight, 19, 5))
    product = prefix_matmul(
        *given, 19, 5, blocks=TILES, interpret=pltpu.InterpretParams()
    )
    assert_equal(product, padded(x[:, :19] @ weight[:19, :5], (20, 24)))


def test_the_simulator_of_tpus_agrees_on_a_network():
    weights = network(20, 24, gated=True)
    (x,) = arrays(whole((8, 20), 0))
    output = prefix_feed_forward(
        jnp.asarray(only(x, 8, 17)),
        only_active(weights, 17, 18),
        17,
        18,
        blocks=TILES,
        interpret=pltpu.InterpretParams(),
    )
    assert_close(output, masked_feed_forward(x, weights, 17, 18))


# At the edge of the columns a tile is computed whole and the rest of it is dropped.
@pytest.mark.filterwarnings("ignore:invalid value encountered in matmul:RuntimeWarning")
@pytest.mark.parametrize(("inputs", "outputs"), [(70, 33), (0, 9)])
def test_the_simulator_of_gpus_agrees_on_a_product(gpu_simulator, inputs, outputs):
    x, weight = whole((64, 128), 0), whole((128, 64), 1)
    given = arrays(only(x, 64, inputs), only(weight, inputs, outputs))
    with gpu_simulator:
        product = prefix_matmul(
            *(array.astype(jnp.bfloat16) for array in given),
            inputs,
            outputs,
            implementation="mosaic_gpu",
        )
    expected = padded(x[:, :inputs] @ weight[:inputs, :outputs], (64, 64))
    assert_equal(product, jnp.asarray(expected, jnp.bfloat16))


def test_the_simulator_of_gpus_maps_a_population(gpu_simulator):
    x, weight = arrays(whole((64, 64), 0), whole((64, 64), 1))
    given = [array.astype(jnp.bfloat16) for array in (x, weight)]

    def multiply(inputs):
        return prefix_matmul(*given, inputs, 64, implementation="mosaic_gpu")

    with gpu_simulator:
        mapped = jax.vmap(multiply)(jnp.asarray([3, 50]))
    expected = jnp.stack([x[:, :size] @ weight[:size] for size in (3, 50)])
    assert_equal(mapped, expected.astype(jnp.bfloat16))
