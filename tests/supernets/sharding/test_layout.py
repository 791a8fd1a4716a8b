"""Where weights, moments and batches lie, and that nothing is lost on the way."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import PartitionSpec

from search.space import Choice
from supernets.layers import ElasticFeedForward
from supernets.losses.loss import Batch
from supernets.lowering import Scaled
from supernets.optimizers.adamw import AdamW
from supernets.sharding.layout import Layout
from supernets.sharding.memory import memory_of
from supernets.sharding.spec import Parallel
from supernets.training import initial_state
from supernets.weights import flat_weights
from tests.kernels.comparison import assert_equal
from tests.supernets.toy import (
    random_weights,
    shapes,
    small_decoder,
    small_multi_task,
    unweighted,
    with_weights,
)

OPTIMIZER = AdamW().transform(10)
SPEC = small_decoder(heads=(4, 8), ffn=(4, 8), group=2, head_dim=2)


def layout_of(spec=SPEC, *, devices=None, **axes):
    return Layout.of(Parallel(**axes), unweighted(spec), devices)


def state_of(optimizer=OPTIMIZER):
    return initial_state(with_weights(SPEC, random_weights(SPEC)), optimizer)


def specs_of(layout):
    return {".".join(map(str, p)): place.spec for p, place in layout.placements.items()}


def test_one_device_needs_no_layout():
    assert layout_of(devices=jax.devices()[:1]) is None


def test_each_weight_is_spread_along_its_largest_axis_and_units_are_shared():
    specs = specs_of(layout_of(fsdp=2, tensor=2))
    assert specs.keys() == shapes(unweighted(SPEC)).keys()
    assert specs["embedding.table"] == PartitionSpec(None, "fsdp")
    assert specs["blocks.0.attention.query"] == PartitionSpec("fsdp", "tensor")
    assert specs["blocks.1.attention.output"] == PartitionSpec("tensor", None, "fsdp")
    assert specs["blocks.0.feed_forward.up"] == PartitionSpec("fsdp", "tensor")
    assert specs["norm.scale"] == PartitionSpec("fsdp")
    wide = small_decoder(ffn=(16, 32))
    up = specs_of(layout_of(wide, fsdp=2, tensor=1, data=2))["blocks.0.feed_forward.up"]
    assert up == PartitionSpec(None, "fsdp")


def test_moments_lie_as_their_weights_do_and_counts_are_everywhere():
    layout = layout_of(fsdp=2, tensor=2)
    state = layout.place(state_of())
    moments = state.optimizer[1][0]
    weights, means = (
        {name: leaf.sharding for name, leaf in named(tree).items()}
        for tree in (state.params, moments.mu)
    )
    assert weights == means
    assert moments.count.sharding.spec == PartitionSpec()


def named(params):
    return flat_weights(nnx.merge(nnx.graphdef(unweighted(SPEC)), params))


@pytest.mark.parametrize(
    "axes", [{"fsdp": 4}, {"tensor": 2}, {"fsdp": 2, "tensor": 2}, {"data": 4}]
)
def test_what_is_placed_is_collected_and_replicated_as_it_was(axes):
    state = state_of()
    layout = layout_of(**axes)
    placed = layout.place(state)
    assert_equal(jax.device_get(layout.collect(placed)), jax.device_get(state))
    whole = layout.replicate(placed.params)
    assert all(leaf.is_fully_replicated for leaf in jax.tree.leaves(whole))
    assert_equal(jax.device_get(whole), jax.device_get(state.params))


def test_a_state_moves_from_four_devices_to_two():
    state = state_of()
    four = layout_of(fsdp=2, tensor=2)
    two = layout_of(devices=jax.devices()[2:], data=1, tensor=2)
    moved = two.place(four.collect(four.place(state)))
    assert {leaf.sharding.mesh.size for leaf in jax.tree.leaves(moved)} == {2}
    assert_equal(jax.device_get(two.collect(moved)), jax.device_get(state))


def test_a_placed_state_has_memory_of_its_own():
    state = state_of()
    placed = layout_of(data=4).place(state)
    for leaf in jax.tree.leaves(placed):
        leaf.delete()
    assert_equal(named(state.params), random_weights(SPEC))


def test_query_heads_are_dealt_with_the_head_they_share():
    layout = layout_of(data=2, tensor=2)
    params = layout.place(state_of().params)
    query = params["blocks"][0]["attention"]["query"][...]
    key = params["blocks"][0]["attention"]["key"][...]
    before = state_of().params["blocks"][0]["attention"]
    # Four groups of two query heads: the first device has the first and the third.
    assert_equal(query[:, :4], before["query"][...][:, jnp.asarray([0, 1, 4, 5])])
    assert_equal(key[:, :2], before["key"][...][:, jnp.asarray([0, 2])])


def test_masks_are_dealt_as_weights_are():
    layout = layout_of(data=2, tensor=2)
    params = state_of().params
    assert_equal(
        jax.device_get(layout.dealt(params)), jax.device_get(layout.place(params))
    )


def test_examples_stay_in_order_and_are_on_all_devices_that_share_them():
    layout = layout_of(data=2, tensor=2)
    inputs = np.arange(8).reshape(4, 2).astype(np.int32)
    batch = layout.batch(Batch(inputs, {"one": inputs[:, 0]}))
    assert_equal(batch.inputs, inputs)
    first, second, *_ = batch.inputs.addressable_shards
    assert_equal(first.data, inputs[:2])
    assert_equal(second.data, inputs[:2])
    assert batch.targets["one"].sharding.spec == PartitionSpec(("data", "fsdp"))


def test_a_batch_that_does_not_spread_is_refused():
    layout = layout_of(data=2, fsdp=2)
    assert layout.examples(8) == slice(0, 8)
    batch = Batch(np.zeros((6, 2), np.int32), np.zeros((6, 2), np.int32))
    for refused in (lambda: layout.batch(batch), lambda: layout.examples(6)):
        with pytest.raises(ValueError, match="6 examples do not spread evenly over"):
            refused()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"heads": (2, 8)}, r"2 .* cannot share heads \[2\] .* a multiple of 4,"),
        ({"ffn": (3, 4, 8)}, r"cannot share ffn \[3\] evenly; .* got \(3, 4, 8\)"),
    ],
)
def test_a_choice_that_devices_cannot_share_is_refused(sizes, message):
    spec = small_decoder(**{"heads": (4, 8), "ffn": (4, 8), "group": 2, **sizes})
    with pytest.raises(ValueError, match=message):
        layout_of(spec, tensor=2)


def test_products_of_choices_are_shared_or_refused():
    def layer(*ratios):
        hidden = Scaled(Choice("width", (4, 6)), Choice("ratio", ratios))
        return ElasticFeedForward(4, hidden, rngs=nnx.Rngs(0))

    assert Layout.of(Parallel(tensor=2), layer(1, 2)) is not None
    with pytest.raises(ValueError, match=r"width x ratio / 1 \[6\] evenly"):
        Layout.of(Parallel(tensor=4), layer(1, 2))


def test_layers_outside_of_the_stack_are_shared_too():
    spec = small_multi_task(heads=(2,), ffn=(2,))
    with pytest.raises(ValueError, match=r"one_units \[5\]"):
        layout_of(spec, tensor=2)


def test_factored_moments_of_shared_units_are_refused():
    optimizer = optax.scale_by_factored_rms(min_dim_size_to_factor=2)
    state = state_of(optimizer)
    with pytest.raises(ValueError, match="use an optimiser with moments as its"):
        layout_of(tensor=2).shardings(state)
    places = layout_of(fsdp=4).shardings(state)
    assert jax.tree.structure(places) == jax.tree.structure(state)


@pytest.mark.parametrize("axes", [{"fsdp": 4}, {"fsdp": 2, "tensor": 2}, {"data": 4}])
def test_memory_is_told_before_anything_is_allocated(axes):
    layout = layout_of(**axes)
    memory = memory_of(layout, jax.eval_shape(state_of))
    placed = jax.tree.leaves(layout.place(state_of()))
    first = [leaf.addressable_shards[0].data for leaf in placed]
    assert memory.per_device == sum(part.nbytes for part in first)
    assert memory.whole == sum(leaf.nbytes for leaf in placed)
    alike = [leaf.nbytes for leaf in placed if leaf.is_fully_replicated]
    assert memory.replicated == sum(alike)
    params = sum(leaf.nbytes for leaf in jax.tree.leaves(state_of().params))
    if "data" in axes:
        assert memory.replicated_share == 1
        assert memory.gathered == 0
    else:
        assert params / 2 <= memory.gathered <= params
        assert memory.replicated_share < 0.01


def test_one_device_holds_all():
    memory = memory_of(None, jax.eval_shape(state_of))
    assert memory.per_device == memory.whole
    assert memory.gathered == 0
