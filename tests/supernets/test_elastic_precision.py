"""Bits as an axis of supernets: one law for all extents; idle scales stand still."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from supernets.activity import active_entries
from supernets.collection import require_used
from supernets.decoder.spec import Decoder
from supernets.importance import sort_state
from supernets.losses.entropy import data_loss
from supernets.losses.loss import Batch
from supernets.lowering import fixed_extents, indexed_extents, mixed_extents
from supernets.optimizers.adamw import AdamW
from supernets.optimizers.schedules import Constant
from supernets.policies.chain import Chain
from supernets.policies.policy import Moment, Subnets
from supernets.quantization.calibration import calibrated, unrounded
from supernets.quantization.precision import Precision
from supernets.regularization import Regularization
from supernets.sharding.layout import Layout
from supernets.sharding.spec import Parallel
from supernets.training import initial_state, make_train_step
from supernets.vision.spec import VisionTransformer
from tests.kernels.comparison import assert_close, quick_jit
from tests.supernets.toy import one_hot_probabilities, random_windows
from tests.variants import mainly

SIZES = {
    "width": (4, 8),
    "heads": (1, 2),
    "ffn": (4, 8),
    "depth": (1, 2),
    "head_dim": 4,
}

PRECISIONS = {
    "learned": Precision(weights=(2, 4, 16), activations=(4, 16)),
    "asymmetric groups": Precision(
        weights=(2, 8), granularity="group", group_size=4, symmetric=False
    ),
    "adapters": Precision(
        weights=(2, 4), granularity="group", group_size=2, adapters=2
    ),
    "nested": Precision(weights=(2, 4, 8), mechanism="nested", granularity="tensor"),
    "schemes": Precision(
        weights=(2, 16),
        granularity=("tensor", "group"),
        group_size=4,
        symmetric=(True, False),
    ),
    "nested schemes": Precision(
        weights=(2, 4), mechanism="nested", granularity=("tensor", "channel")
    ),
}


def decoder(precision):
    return Decoder(**SIZES, vocabulary=7, precision=precision)


def built(spec, seed=0):
    """A supernet whose scales and adapters are no longer those of the start."""
    module = spec.build(rngs=nnx.Rngs(seed))
    keys = iter(jax.random.split(jax.random.key(seed), 200))

    def moved(path, leaf):
        del path
        return leaf + 0.1 * jax.random.normal(next(keys), leaf.shape)

    state = jax.tree.map_with_path(moved, nnx.state(module, nnx.Param))
    nnx.update(module, state)
    return module


def loss_of(spec, extents_of):
    graph = nnx.graphdef(nnx.eval_shape(lambda: spec.build(rngs=nnx.Rngs(0))))

    def loss(params, selected, windows):
        inputs, targets = windows
        logits = nnx.merge(graph, params)(inputs, extents_of(selected))
        return data_loss(logits, targets)

    return quick_jit(jax.value_and_grad(loss))


@pytest.mark.slow
@pytest.mark.parametrize("name", mainly(*PRECISIONS, mark=pytest.mark.long))
def test_all_extents_of_bits_give_the_same_values_and_gradients(name):
    spec = decoder(PRECISIONS[name])
    space, windows = spec.space(), random_windows(0)
    params = nnx.state(built(spec), nnx.Param)
    masked = loss_of(spec, lambda g: indexed_extents(space, g, "masked"))
    mixed = loss_of(spec, lambda selected: mixed_extents(space, selected))
    genotypes = space.sample(3, np.random.default_rng(1))
    for row, genotype in enumerate(genotypes):
        expected = masked(params, jnp.asarray(genotype), windows)
        one_hot = one_hot_probabilities(space, genotype)
        assert_nearly(mixed(params, one_hot, windows), expected)
        if row == 0:
            sliced = loss_of(spec, lambda e: e)
            fixed = fixed_extents(space, genotype)
            assert_nearly(sliced(params, fixed, windows), expected)


def assert_nearly(tree, expected):
    """Within rounding; what is summed over a weight's entries has more of it."""

    def near(array, wanted):
        scale = np.abs(wanted).max(initial=0.0)
        np.testing.assert_allclose(array, wanted, rtol=0, atol=1e-3 * scale)

    jax.tree.map(near, tree, expected)


def flat(tree):
    return {path: variable[...] for path, variable in nnx.to_flat_state(tree)}


@pytest.mark.slow
@pytest.mark.parametrize("name", mainly("learned", "schemes", mark=pytest.mark.long))
def test_scales_of_other_bits_have_no_gradient_and_do_not_move(name):
    spec = decoder(PRECISIONS[name])
    space, policy = spec.space(), Chain()
    optimizer = AdamW(learning_rate=0.1, schedule=Constant()).transform(4)
    module = built(spec)
    state = initial_state(module, optimizer)
    step = make_train_step(module, space, optimizer, policy.slots(space))
    windows = Batch(*random_windows(0))

    def cost(genotypes):
        return spec.costs(genotypes, batch=1, example=(4,))["bops"]

    draw = policy.draw(Subnets(space, cost), Moment(0, 0, 4))
    before = flat(jax.tree.map(np.array, state.params))
    used = [
        flat(active_entries(module, fixed_extents(space, row[0])))
        for row in draw.genotypes
    ]
    for number in range(2):
        # The first step warms up: its rate is zero.
        state, metrics = step(state, windows, draw, number)
        assert np.isfinite(metrics.losses).all()
    moved = 0
    for path, after in flat(state.params).items():
        expected = np.logical_or.reduce([entries[path] for entries in used])
        changed = np.asarray(after) != before[path]
        assert not changed[~expected].any(), path
        moved += changed[expected].sum() if path[-1] == "log_scale" else 0
    assert moved > 10


@pytest.mark.slow
def test_a_layer_uses_the_scales_of_what_it_picked_alone():
    spec = decoder(PRECISIONS["schemes"])
    space, module = spec.space(), built(spec)
    require_used(space, module)
    genotype = space.largest.copy()
    genotype[space.slices["weight_bits"]] = 0
    for place in range(4):
        genotype[space.slices["granularity"].start] = place // 2
        genotype[space.slices["asymmetric"].start] = place % 2
        entries = flat(active_entries(module, fixed_extents(space, genotype)))
        used = {
            (path[1], path[-2])
            for path, active in entries.items()
            if "members" in path and active.any()
        }
        # The last layer stays with the last of all.
        assert used == {(0, place), (1, 3)}


@pytest.mark.slow
@pytest.mark.parametrize("trains", ["adapters", "scales"])
def test_a_phase_may_train_adapters_or_scales_alone(trains):
    spec = decoder(PRECISIONS["adapters"])
    space, policy = spec.space(), Chain()
    optimizer = AdamW(learning_rate=0.1, schedule=Constant()).transform(4)
    module = built(spec)
    state = initial_state(module, optimizer)
    step = make_train_step(module, space, optimizer, policy.slots(space), trains=trains)
    draw = policy.draw(
        Subnets(space, lambda g: np.arange(len(g), dtype=float)), Moment(0, 0, 4)
    )
    before = flat(jax.tree.map(np.array, state.params))
    for number in range(2):
        state, _ = step(state, Batch(*random_windows(0)), draw, number)
    moved = {
        path[-1]
        for path, after in flat(state.params).items()
        if (np.asarray(after) != before[path]).any()
    }
    names = {"adapters": {"adapter_down", "adapter_up"}, "scales": {"log_scale"}}
    assert moved == names[trains]


@pytest.mark.slow
def test_a_phase_of_adapters_needs_some():
    spec = decoder(PRECISIONS["nested"])
    optimizer = AdamW().transform(4)
    module = built(spec)
    space, policy = spec.space(), Chain()
    step = make_train_step(
        module, space, optimizer, policy.slots(space), trains="adapters"
    )
    draw = policy.draw(
        Subnets(space, lambda g: np.arange(len(g), dtype=float)), Moment(0, 0, 4)
    )
    with pytest.raises(ValueError, match="trains 'adapters', of which the model has"):
        step(initial_state(module, optimizer), Batch(*random_windows(0)), draw, 0)


@pytest.mark.slow
def test_calibrated_scales_hold_what_is_multiplied():
    spec = decoder(PRECISIONS["learned"])
    space, (inputs, _) = spec.space(), random_windows(0)
    module = built(spec)
    optimizer = AdamW().transform(4)
    state = initial_state(module, optimizer, averaged=True)
    state = state._replace(params=jax.tree.map_with_path(coarser, state.params))
    found = calibrated(module, space, state, inputs)
    extents = dict(unrounded(space))
    run = quick_jit(
        lambda params, extents: nnx.merge(nnx.graphdef(module), params)(inputs, extents)
    )
    wanted = run(state.params, extents)
    few = fixed_extents(space, space.encode(coarse(space)))
    errors = [
        float(jnp.mean((run(params, few) - wanted) ** 2))
        for params in (state.params, found.params)
    ]
    assert errors[1] < 0.5 * errors[0]
    before, after = flat(state.params), flat(found.params)
    for path, value in after.items():
        if path[-1] != "log_scale":
            assert np.array_equal(value, before[path]), path
        else:
            assert not np.array_equal(value, before[path]), path
    assert any(path[-1] == "log_scale" for path in after)
    assert_close(flat(found.average)[OF_A_WEIGHT], after[OF_A_WEIGHT])


@pytest.mark.slow
def test_the_scales_of_every_scheme_are_calibrated():
    spec = decoder(PRECISIONS["nested schemes"])
    module, optimizer = built(spec), AdamW().transform(4)
    state = initial_state(module, optimizer)
    state = state._replace(params=jax.tree.map_with_path(coarser, state.params))
    found = calibrated(module, spec.space(), state, random_windows(0)[0])
    before, after = flat(state.params), flat(found.params)
    for path, value in after.items():
        moved = not np.array_equal(value, before[path])
        assert moved == (path[-1] == "log_scale"), path
    assert sum("members" in path for path in after) == 2 * 7 * 2


OF_A_WEIGHT = "blocks", 0, "feed_forward", "up_quantizers", "log_scale"


def coarser(path, leaf):
    """Scales three times what they were; all else as it was."""
    return leaf + 1.1 if path[-2].key == "log_scale" else leaf


def coarse(space):
    """The largest shape, at 4 bits everywhere."""
    genotype = space.largest.copy()
    genotype[space.slices["weight_bits"]] = 1
    genotype[space.slices["activation_bits"]] = 0
    return space.decode(genotype)


@pytest.mark.slow
def test_sorting_channels_moves_their_scales():
    spec = decoder(PRECISIONS["learned"])
    space, (inputs, _) = spec.space(), random_windows(0)
    module, optimizer = built(spec), AdamW().transform(4)
    state = initial_state(module, optimizer)
    ordered = sort_state(module, space, optimizer, state, ("ffn", "heads"))
    few = fixed_extents(space, space.encode(coarse(space)))
    run = quick_jit(lambda params: nnx.merge(nnx.graphdef(module), params)(inputs, few))
    assert_close(run(ordered.params), run(state.params))
    moved = [
        path[3]
        for path, value in flat(ordered.params).items()
        if not np.array_equal(value, flat(state.params)[path])
    ]
    assert {"up", "up_quantizers"} <= set(moved)


@pytest.mark.slow
def test_groups_are_not_sorted_and_units_with_scales_not_shared():
    spec = decoder(PRECISIONS["asymmetric groups"])
    module, optimizer = built(spec), AdamW().transform(4)
    state = initial_state(module, optimizer)
    with pytest.raises(ValueError, match="'ffn' share scales in groups of 4"):
        sort_state(module, spec.space(), optimizer, state, ("ffn",))
    with pytest.raises(ValueError, match="let tensor be 1"):
        Layout.of(Parallel(tensor=2), module, jax.devices()[:2])


@pytest.mark.slow
def test_weights_get_the_shape_that_bits_hurt_least():
    spec = decoder(PRECISIONS["nested"])
    params = nnx.state(built(spec), nnx.Param)
    shape = Regularization(skewness=1.0, kurtosis=0.015)
    found, slopes = jax.value_and_grad(shape.penalty)(params)
    assert found > 0
    flat_slopes = flat(slopes)
    assert np.any(flat_slopes["blocks", 0, "feed_forward", "up"])
    assert not np.any(flat_slopes["embedding", "table"])
    assert Regularization().penalty(params) == 0.0
    plain = Decoder(**SIZES).build(rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="no weights to shape"):
        shape.penalty(nnx.state(plain, nnx.Param))


def test_the_metrics_of_bits_are_what_the_arithmetic_says():
    spec = Decoder(
        width=(8,),
        heads=(2,),
        ffn=(8,),
        depth=(1,),
        head_dim=4,
        vocabulary=7,
        precision=Precision(weights=(2, 4), activations=(8,), outer=8),
    )
    space = spec.space()
    ends = np.stack([space.smallest, space.largest])
    found = spec.costs(ends, batch=1, example=(4,))
    layer = 4 * 8 * 8 + 3 * 8 * 8
    scales = 4 * (4 * 8 + 3 * 8)
    table, norms = 7 * 8 + 4 * 7, 4 * 3 * 8
    expected = [layer * bits / 8 + scales + table + norms for bits in (2, 4)]
    np.testing.assert_allclose(found["size_mb"], np.asarray(expected) / 1e6)
    assert found["mean_bits"].tolist() == [2, 4]
    scores = 2 * 4 * 4 * 8 * 16 * 16
    head = 4 * 8 * 7 * 8 * 16
    products = [4 * layer * bits * 8 for bits in (2, 4)]
    np.testing.assert_allclose(found["bops"], np.asarray(products) + scores + head)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"weights": (1, 4)}, "codes cannot have 1 bits"),
        ({"weights": (4, 2)}, "must be ascending bits"),
        ({"activations": ()}, "must be ascending bits"),
        ({"outer": 12}, "codes cannot have 12 bits"),
        ({"granularity": "group"}, "needs a group_size"),
        ({"adapters": 4}, "need granularity 'group'"),
        ({"adapters": -1}, "must not be negative"),
        (
            {
                "adapters": 4,
                "granularity": "group",
                "group_size": 4,
                "symmetric": (True, False),
            },
            "nothing to choose of symmetry",
        ),
        ({"granularity": ("channel", "tensor")}, "of .* in this order, got"),
        ({"granularity": ("channel", "channel")}, "of .* in this order, got"),
        ({"granularity": ()}, "of .* in this order, got"),
        ({"symmetric": (False, True)}, "of .* in this order, got"),
        ({"granularity": ("tensor", "group")}, "needs a group_size"),
        ({"granularity": ("tensor", "channel"), "group_size": 4}, "leave it out"),
        ({"weights": (16,), "symmetric": (True, False)}, "nothing to choose"),
        (
            {
                "adapters": 4,
                "granularity": "group",
                "group_size": 4,
                "mechanism": "nested",
            },
            "take mechanism 'learned'",
        ),
    ],
)
def test_a_precision_that_cannot_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Precision(**wrong)


def test_groups_that_do_not_divide_the_inputs_are_refused_with_ones_that_do():
    with pytest.raises(ValueError, match="groups of 3 do not divide 8 inputs: take"):
        decoder(Precision(granularity="group", group_size=3))


@pytest.mark.slow
def test_an_image_classifier_has_bits_too():
    spec = VisionTransformer(
        **SIZES, image=(4, 4, 1), patch=2, classes=3, precision=PRECISIONS["learned"]
    )
    module, space = built(spec), spec.space()
    images = jax.random.normal(jax.random.key(0), (2, 4, 4, 1))
    run = quick_jit(
        lambda genotype: module(images, indexed_extents(space, genotype, "masked"))
    )
    ends = [run(jnp.asarray(end)) for end in (space.smallest, space.largest)]
    assert np.isfinite(ends).all()
    sliced = module(images, fixed_extents(space, space.largest))
    assert_close(sliced, ends[1])


@pytest.mark.slow
def test_broken_scales_of_other_bits_leak_nowhere():
    spec = decoder(PRECISIONS["learned"])
    space, windows = spec.space(), random_windows(0)
    params = nnx.state(built(spec), nnx.Param)
    genotype = space.encode(coarse(space))
    used = active_entries(built(spec), fixed_extents(space, genotype))
    broken = jax.tree.map(
        lambda leaf, mask: jnp.where(mask, leaf, jnp.nan), params, used
    )
    run = loss_of(spec, lambda g: indexed_extents(space, g, "masked"))
    loss, gradient = run(broken, jnp.asarray(genotype), windows)
    assert np.isfinite(loss)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.long
@pytest.mark.parametrize("axes", [{"data": 2}, {"fsdp": 2}])
def test_steps_on_two_devices_are_those_on_one(axes):
    spec = decoder(PRECISIONS["learned"])
    space, policy = spec.space(), Chain()
    optimizer = AdamW(learning_rate=0.1, schedule=Constant()).transform(4)
    module = built(spec)
    layout = Layout.of(Parallel(**{"data": 1, **axes}), module, jax.devices()[:2])
    found = []
    for given in (None, layout):
        state = initial_state(built(spec), optimizer)
        windows = Batch(*random_windows(0))
        step = make_train_step(
            module, space, optimizer, policy.slots(space), layout=given
        )
        if given is not None:
            state = given.place(state)
            windows = given.batch(Batch(*map(np.asarray, windows)))
        subnets = Subnets(space, lambda g: np.arange(len(g), dtype=float))
        for number in range(2):
            draw = policy.draw(subnets, Moment(0, number, 4))
            state, _ = step(state, windows, draw, number)
        found.append(
            flat(state.params if given is None else given.collect(state).params)
        )
    alone, together = found
    for path, value in alone.items():
        np.testing.assert_allclose(together[path], value, rtol=0, atol=1e-4)
