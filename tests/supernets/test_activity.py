"""Which entries a subnet uses, and that the others stand still."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from search.space import Choice, Space
from supernets.activity import active_entries, hold_inactive
from supernets.layers import ElasticLinear, ElasticRmsNorm
from supernets.lowering import fixed_extents, indexed_extents
from tests.kernels.comparison import assert_equal, quick_jit
from tests.supernets.toy import (
    active_parts,
    small_decoder,
    small_multi_task,
    small_vision,
    unweighted,
)

DROPPED = {"heads": (0, 2, 4), "ffn": (0, 3, 5), "depth": (1, 2, 3), "head_dim": 2}

SPECS = {
    **{
        rule: small_decoder(**DROPPED, group=2, norm=norm, depth_rule=rule)
        for rule, norm in (("prefix", "rms"), ("spaced", "layer"), ("free", "rms"))
    },
    "vision": small_vision(heads=(0, 2), pooling="token"),
    "multi-task": small_multi_task(heads=(0, 2), ffn=(0, 3)),
}


def by_name(active):
    flat = nnx.to_flat_state(active)
    return {".".join(map(str, path)): mask[...] for path, mask in flat}


@pytest.mark.parametrize("name", SPECS)
def test_a_subnet_uses_its_own_entries_and_norms_of_what_it_runs(name):
    spec = SPECS[name]
    space, supernet = spec.space(), unweighted(spec)

    @quick_jit
    def masks(genotype):
        return by_name(active_entries(supernet, indexed_extents(space, genotype)))

    genotypes = space.sample(30, np.random.default_rng(0))
    for genotype in (*genotypes, space.smallest, space.largest):
        expected = active_parts(spec, space.decode(genotype))
        assert_equal(masks(np.asarray(genotype)), expected)


def test_static_extents_have_the_same_entries():
    spec = SPECS["spaced"]
    genotype = spec.space().sample(1, np.random.default_rng(1))[0]
    extents = fixed_extents(spec.space(), genotype)
    found = quick_jit(lambda: by_name(active_entries(unweighted(spec), extents)))()
    assert_equal(found, active_parts(spec, spec.space().decode(genotype)))


def test_the_largest_subnet_uses_everything():
    spec = SPECS["multi-task"]
    extents = fixed_extents(spec.space(), spec.space().largest)
    found = quick_jit(lambda: active_entries(unweighted(spec), extents))()
    assert all(mask.all() for mask in jax.tree.leaves(found))


RATE = 1e-3
ADAMW = optax.adamw(RATE, weight_decay=0.1)


def idle_steps(params, state, hold):
    """Ten steps without a gradient."""
    nothing = jax.tree.map(jnp.zeros_like, params)

    @quick_jit
    def step(params, state):
        with jax.numpy_dtype_promotion("standard"):
            updates, new = ADAMW.update(nothing, state, params)
        return hold(
            new=(optax.apply_updates(params, updates), new), old=(params, state)
        )

    for _ in range(10):
        params, state = step(params, state)
    return params, state


def test_weights_without_a_gradient_drift_unless_they_are_held():
    width = Choice("width", (1, 2))
    layer = ElasticLinear(1, width, use_bias=False, rngs=nnx.Rngs(0))
    params = jax.tree.map(jnp.ones_like, nnx.state(layer, nnx.Param))
    smallest = fixed_extents(Space((width,)), np.zeros(1, np.int32))
    active = active_entries(layer, smallest)
    with jax.numpy_dtype_promotion("standard"):
        updates, state = ADAMW.update(params, ADAMW.init(params), params)
    params = optax.apply_updates(params, updates)

    def kept(tree):
        return np.asarray(tree["kernel"][...])[0]

    def let_go(new, old):
        del old
        return new

    free = idle_steps(params, state, let_go)[0]
    # 3.35 rates of momentum, and one of decay (bias-corrected moments in closed form).
    drift = (kept(params) - kept(free)) / RATE
    np.testing.assert_allclose(drift, 4.35, atol=0.01)

    def hold(new, old):
        return hold_inactive(ADAMW, active, new=new, old=old)

    held, moments = idle_steps(params, state, hold)
    assert_equal(kept(held)[1], kept(params)[1])
    assert_equal(kept(held)[0], kept(free)[0])
    for name in ("mu", "nu"):
        before, after = (kept(getattr(s[0], name)) for s in (state, moments))
        assert before[1] == after[1]
        assert before[0] != after[0]
    assert int(moments[0].count) == 11


def test_a_weight_that_no_layer_declares_is_refused():
    class Owner(nnx.Module):
        def __init__(self):
            self.norm = ElasticRmsNorm(2)
            self.bias = nnx.Param(jnp.zeros(2))

    extents = fixed_extents(Space((Choice("width", (1, 2)),)), np.zeros(1, np.int32))
    with pytest.raises(ValueError, match=r"dimensions \('bias',\) follows; give its"):
        active_entries(Owner(), extents)
