"""A step moves the scales of the width that it trained, and no other's."""

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import nnx

from kernels.extents import Fixed, Indexed, Mixed
from kernels.quantization.calibration import searched_quantizers
from kernels.quantization.fake import fake_quantize
from kernels.quantization.quantizers import Quantizers
from kernels.quantization.scheme import Scheme
from kernels.quantization.widths import used_rows
from supernets.activity import update_active
from tests.kernels.comparison import assert_equal, normal, quick_jit

SCHEME = Scheme(widths=(2, 4, 8), symmetric=False)
CHOICES = (2, 4, 8, 16)
OPTIMIZER = optax.adamw(1e-2, weight_decay=0.1)


class Layer(nnx.Module):
    """A weight with what is learned of quantising it."""

    def __init__(self):
        weight = jnp.asarray(normal((6, 4), 0))
        scale, zero_point = searched_quantizers(weight, SCHEME)
        self.weight, self.scale = nnx.Param(weight), nnx.Param(scale)
        self.zero_point = nnx.Param(zero_point)


@quick_jit
def stepped(params, state, extent):
    def loss(params):
        quantizers = Quantizers(params.scale[...], params.zero_point[...])
        weight = fake_quantize(params.weight[...], extent, quantizers, SCHEME)
        return jnp.sum((weight - 0.4) ** 2)

    rows = used_rows(extent, SCHEME.widths)
    active = jax.tree.map(lambda array: jnp.ones(array.shape, bool), params)
    for name in ("scale", "zero_point"):
        mask = jnp.broadcast_to(rows[:, None, None], params[name].shape)
        active[name] = active[name].replace(mask)
    return update_active(OPTIMIZER, jax.grad(loss)(params), active, params, state)


@pytest.mark.parametrize(
    ("extent", "moved"),
    [
        (Fixed(4), [False, True, False]),
        (Indexed(jnp.asarray(2), CHOICES), [False, False, True]),
        (Indexed(jnp.asarray(3), CHOICES), [False, False, False]),
        (Mixed(jnp.asarray([0.5, 0.0, 0.5, 0.0]), CHOICES), [True, False, True]),
    ],
    ids=repr,
)
def test_only_what_was_sampled_moves(extent, moved):
    params = nnx.state(Layer(), nnx.Param)
    state = OPTIMIZER.init(params)
    # Moments of all widths, which would move them on.
    for index in range(3):
        sampled = Indexed(jnp.asarray(index), CHOICES)
        params, state = stepped(params, state, sampled)
    new, _ = stepped(params, state, extent)
    for name in ("scale", "zero_point"):
        changed = (new[name][...] != params[name][...]).any((1, 2))
        assert_equal(changed, moved)
    assert (new.weight[...] != params.weight[...]).any()
