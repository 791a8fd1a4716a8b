"""Which implementation runs where, and the reasons of those that do not."""

import importlib.util
import types

import jax
import jax.numpy as jnp
import pytest

from kernels.pallas.selection import (
    mosaic_gpu_refusal,
    refusal,
    required,
    selected,
    triton_refusal,
)

BFLOAT16, FLOAT32 = jnp.dtype(jnp.bfloat16), jnp.dtype(jnp.float32)
SHAPE = (128, 256, 192)


@pytest.fixture
def gpu(monkeypatch):
    """Pretends that the default device is a GPU of a compute capability."""

    def pretend(capability):
        device = types.SimpleNamespace(compute_capability=capability)
        monkeypatch.setattr(jax, "local_devices", lambda: [device])
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")

    return pretend


@pytest.fixture
def no_triton(monkeypatch):
    """Pretends to be a JAX that has removed the Triton backend."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)


def test_a_cpu_has_no_compiler():
    reason = "Pallas has no compiler for the CPU; it interprets there"
    assert refusal("cpu", FLOAT32, *SHAPE) == reason
    with pytest.raises(ValueError, match=f"{reason}. Pass interpret=True"):
        selected(FLOAT32, SHAPE)


def test_a_tpu_takes_both_types_and_any_sizes(monkeypatch):
    for dtype in (BFLOAT16, FLOAT32):
        assert refusal("tpu", dtype, 7, 13, 5) is None
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert selected(BFLOAT16, (7, 13, 5)) == "tpu"


@pytest.mark.parametrize("backend", ["tpu", "gpu"])
def test_other_types_and_empty_products_are_refused(backend):
    assert "not float16" in refusal(backend, jnp.dtype(jnp.float16), *SHAPE)
    assert "nothing to compute" in refusal(backend, FLOAT32, 0, 4, 4)


def test_an_unknown_backend_is_refused():
    assert refusal("metal", FLOAT32, *SHAPE) == "Pallas has no compiler for 'metal'"


@pytest.mark.parametrize(
    ("capability", "dtype", "shape", "chosen"),
    [
        ("9.0", BFLOAT16, SHAPE, "mosaic_gpu"),
        ("9.0", FLOAT32, SHAPE, "triton"),
        ("9.0", BFLOAT16, (128, 100, 192), "triton"),
        ("8.0", BFLOAT16, SHAPE, "triton"),
        ("10.0", BFLOAT16, SHAPE, "triton"),
    ],
)
def test_hopper_runs_wgmma_where_it_applies(gpu, capability, dtype, shape, chosen):
    gpu(capability)
    assert refusal("gpu", dtype, *shape) is None
    assert selected(dtype, shape) == chosen
    assert (mosaic_gpu_refusal(dtype, shape, capability) is None) == (
        chosen == "mosaic_gpu"
    )


@pytest.mark.usefixtures("no_triton")
def test_without_triton_only_wgmma_is_left(gpu):
    gpu("9.0")
    assert selected(BFLOAT16, SHAPE) == "mosaic_gpu"
    reason = refusal("gpu", FLOAT32, *SHAPE)
    assert "wgmma would round float32" in reason
    assert "has no Triton backend" in reason
    with pytest.raises(ValueError, match="'triton' cannot run this: JAX"):
        required("triton", FLOAT32, SHAPE)
    assert "has no Triton backend" in triton_refusal()


def test_what_is_asked_for_by_name_needs_no_device():
    for implementation in ("tpu", "mosaic_gpu", "triton"):
        assert required(implementation, BFLOAT16, SHAPE) == implementation
    with pytest.raises(ValueError, match="not all multiples of 64"):
        required("mosaic_gpu", BFLOAT16, (128, 100, 192))
