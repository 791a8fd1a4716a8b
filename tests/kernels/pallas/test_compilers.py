"""The compilers of TPUs and GPUs, ahead of time: they need no device."""

import importlib.util

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import topologies

from kernels.feed_forward import FeedForwardWeights
from kernels.pallas.feed_forward import prefix_feed_forward
from kernels.pallas.prefix_matmul import prefix_matmul

pytestmark = pytest.mark.slow

TPUS = ("v4:2x2x1", "v5e:2x2", "v5p:2x2x1", "v6e:2x2")

# What libtpu asks a cloud for unless it is told.
TPU_HOST = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
}

H100 = """
gpu_device_info {
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  shared_memory_per_block_optin: 232448
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 84942979072
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  cuda_compute_capability { major: 9 minor: 0 }
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 0 patch: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""

EVEN, ODD = (1024, 512, 2048), (1000, 300, 700)


@pytest.fixture(params=TPUS)
def tpu(request, monkeypatch):
    """A TPU that is known to the compiler only."""
    pytest.importorskip("libtpu", reason="libtpu comes with the extra 'tpu'")
    for name, value in TPU_HOST.items():
        monkeypatch.setenv(name, value)
    topology = topologies.get_topology_desc(platform="tpu", topology_name=request.param)
    return topology.devices[0]


@pytest.fixture
def gpu():
    """A GPU that is known to the compiler only."""
    plugins = ("jax_plugins.xla_cuda13", "jax_plugins.xla_cuda12")
    if not any(_installed(name) for name in plugins):
        pytest.skip("the compiler for GPUs comes with the extra 'cuda'")
    topology = topologies.get_topology_desc(
        "", "cuda", target_config=H100, topology="1x1x1"
    )
    return topology.devices[0]


def _installed(name) -> bool:
    return bool(importlib.util.find_spec("jax_plugins")) and bool(
        importlib.util.find_spec(name)
    )


def compile_on(device, function, arrays, dtype, *, population=()):
    """Compiles the value and gradients of a function of arrays and two sizes."""

    def loss(given, *sizes):
        return jnp.sum(function(*given, *sizes).astype(jnp.float32))

    sharding = jax.sharding.SingleDeviceSharding(device)
    given = [jax.ShapeDtypeStruct(s, dtype, sharding=sharding) for s in arrays]
    size = jax.ShapeDtypeStruct(population, jnp.int32, sharding=sharding)
    run = jax.value_and_grad(loss)
    mapped = jax.vmap(run, (None, 0, 0)) if population else run
    return jax.jit(mapped).lower(given, size, size).compile()


def compile_everything(device, implementation, dtype, shape):
    rows, features, hidden = shape
    weights = [(rows, features), (features, hidden), (hidden, features)]

    def multiply(x, weight, inputs, outputs):
        return prefix_matmul(x, weight, inputs, outputs, implementation=implementation)

    def plain(x, up, down, *sizes):
        weights = FeedForwardWeights(up, down)
        return prefix_feed_forward(x, weights, *sizes, implementation=implementation)

    def gated(x, up, down, gate, *sizes):
        weights = FeedForwardWeights(up, down, gate)
        return prefix_feed_forward(x, weights, *sizes, implementation=implementation)

    assert compile_on(device, multiply, weights[:2], dtype)
    assert compile_on(device, multiply, weights[:2], dtype, population=(3,))
    assert compile_on(device, plain, weights, dtype)
    assert compile_on(device, gated, [*weights, weights[1]], dtype)


each_type = pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])


@each_type
@pytest.mark.parametrize("shape", [EVEN, ODD])
def test_the_compiler_of_tpus_accepts_the_kernels(tpu, dtype, shape):
    compile_everything(tpu, "tpu", dtype, shape)


@each_type
@pytest.mark.parametrize("shape", [EVEN, ODD])
def test_the_compiler_of_gpus_accepts_the_triton_kernels(gpu, dtype, shape):
    compile_everything(gpu, "triton", dtype, shape)


def test_the_compiler_of_gpus_accepts_the_wgmma_kernels(gpu):
    compile_everything(gpu, "mosaic_gpu", jnp.bfloat16, EVEN)
    compile_everything(gpu, "mosaic_gpu", jnp.bfloat16, (64, 192, 320))
