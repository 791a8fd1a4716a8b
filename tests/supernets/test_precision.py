"""Networks that compute in bfloat16, between weights and gradients of float32."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from supernets.losses.loss import Batch
from supernets.lowering import fixed_extents
from supernets.network import Subnet
from supernets.optimizers.adamw import AdamW
from supernets.policies.policy import Moment, Subnets
from supernets.policies.sandwich import Sandwich
from supernets.regularization import Regularization
from supernets.training import initial_state
from tests.supernets.steps import DESCENT, quick_step
from tests.supernets.toy import (
    random_batch,
    random_weights,
    small_decoder,
    small_multi_task,
    small_vision,
    with_weights,
)

pytestmark = pytest.mark.slow

# Few sizes compile quickly.
FEW = {"heads": (2,), "depth": (1,)}

SPECS = {
    "decoder": small_decoder(**FEW),
    "layer norms": small_decoder(**FEW, norm="layer", gated=False, width=(8,)),
    "vision": small_vision(**FEW, pooling="token", width=(8,)),
    "multi-task": small_multi_task(**FEW, width=(8,)),
}

POLICY = Sandwich(random=1)


def learnt(spec, optimizer=DESCENT, **options):
    space = spec.space()
    subnets = Subnets(space, lambda rows: rows.sum(1).astype(float))
    draw = POLICY.draw(subnets, Moment(0, 3, 10))
    step = quick_step(spec, POLICY.slots(space), optimizer, **options)
    state = initial_state(with_weights(spec, random_weights(spec)), optimizer)
    return step(state, Batch(*random_batch(spec)), draw, 0)


def flat(tree):
    return jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(tree)])


@pytest.mark.parametrize(
    ("name", "execution"),
    [
        pytest.param("decoder", "switched", marks=pytest.mark.long),
        ("decoder", "masked"),
        *(
            pytest.param(name, "masked", marks=pytest.mark.long)
            for name in SPECS
            if name != "decoder"
        ),
    ],
)
def test_the_gradient_is_near_and_what_is_kept_is_float32(name, execution):
    options = {
        "execution": execution,
        "regularization": Regularization(dropout=0.1, drop_path=0.1),
    }
    fine, coarse = (
        learnt(SPECS[name], compute=compute, **options)
        for compute in ("float32", "bfloat16")
    )
    np.testing.assert_allclose(coarse[1].losses, fine[1].losses, rtol=0.02)
    one, other = (flat(state.optimizer[0].trace) for state, _ in (fine, coarse))
    error = float(optax.tree.norm(one - other) / optax.tree.norm(one))
    # Not the same, or nothing was computed in it: bfloat16 has 8 bits of precision.
    assert 1e-4 < error < 0.05
    assert {leaf.dtype for leaf in jax.tree.leaves(coarse)} == {jnp.dtype("float32")}


def test_the_optimiser_keeps_float32():
    state, _ = learnt(
        SPECS["decoder"], AdamW().transform(10), compute="bfloat16", execution="masked"
    )
    kinds = {leaf.dtype for leaf in jax.tree.leaves(state)}
    assert kinds == {jnp.dtype("float32"), jnp.dtype("int32")}


def test_matrix_products_are_bfloat16_and_the_softmax_of_attention_is_not():
    # Without gates, whose exponentials are as wide as what they gate.
    spec = SPECS["layer norms"]
    network = with_weights(spec, random_weights(spec))
    graph, params = nnx.split(network)
    extents = fixed_extents(spec.space(), spec.space().largest)
    inputs, _ = random_batch(spec)

    def run(params, inputs):
        return Subnet(graph, params, extents, compute="bfloat16")(inputs)

    text = jax.jit(run).lower(params, inputs).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert products
    assert all("bf16" in line and "f32" not in line.split(":")[-1] for line in products)
    powers = [line for line in text.splitlines() if "stablehlo.exponential" in line]
    assert powers
    assert all("bf16" not in line for line in powers)
    assert jax.eval_shape(run, params, inputs).logits.dtype == jnp.float32
