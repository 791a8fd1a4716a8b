"""Compiling quickly, and comparing trees exactly or within float32 rounding."""

import functools

import jax
import numpy as np

RELATIVE = 1e-5
"""What float32 rounding may change, relative to the largest value of an array."""


@functools.cache
def quick_options() -> dict[str, int | bool]:
    """XLA options that compile small programs 4 times faster than the defaults."""
    wanted = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
    return {name: value for name, value in wanted.items() if _known(name, value)}


def _known(name, value) -> bool:
    try:
        jax.jit(lambda x: x, compiler_options={name: value})(0.0)
    except jax.errors.JaxRuntimeError:
        return False
    return True


def quick_jit(function, **options):
    """Compiles for one call or few: what the code computes, not how fast it is."""
    return jax.jit(function, compiler_options=quick_options(), **options)


def assert_equal(tree, expected) -> None:
    """Bit for bit, except that zeros have no sign."""
    jax.tree.map(np.testing.assert_array_equal, tree, expected)


def assert_close(tree, expected) -> None:
    """Within rounding, relative to the largest value of each array."""
    jax.tree.map(_assert_close, tree, expected)


def _assert_close(array, expected) -> None:
    array, expected = np.asarray(array), np.asarray(expected)
    scale = np.abs(expected).max(initial=0.0)
    np.testing.assert_allclose(array, expected, rtol=0, atol=RELATIVE * scale)


def normal(shape, seed, scale=1.0) -> np.ndarray:
    """Normally distributed values."""
    rng = np.random.default_rng(seed)
    return rng.normal(scale=scale, size=shape).astype(np.float32)


def whole(shape, seed) -> np.ndarray:
    """Whole numbers as floats: sums of their products are exact in any order."""
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(np.float32)
