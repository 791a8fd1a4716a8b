"""Latency by a device's sheet: the slower of computing and moving, and overheads."""

import numpy as np
import pytest

from supernets import costs
from supernets.decoder.spec import Decoder
from supernets.multitask.spec import MultiTask, Task
from supernets.roofline import Roofline
from supernets.vision.spec import VisionTransformer

SIZES = {"width": (64, 128), "heads": (0, 4), "ffn": (0, 512), "depth": (1, 3)}
MODELS = {
    "decoder": (Decoder(**SIZES, group=2), (16,)),
    "vision": (VisionTransformer(**SIZES), (32, 32, 3)),
    "multi_task": (
        MultiTask(**SIZES, tasks=(Task(name="one", classes=3, units=(0, 8)),)),
        (32, 32, 3),
    ),
}

each_model = pytest.mark.parametrize("name", MODELS)


@pytest.mark.parametrize(
    ("flops", "moved", "expected_ms"),
    [(1e3, 1e9, 2 * 24 / 1e3 * 1e3), (1e9, 1e3, 4 * 26 / 1e3 * 1e3)],
)
def test_a_product_takes_as_long_as_the_slower_of_computing_and_moving(
    flops, moved, expected_ms
):
    # 2 rows of 3 values through 3 x 4 weights: 24 MACs; 6 + 12 + 8 values.
    product = costs.linear(2, np.asarray([3]), np.asarray([4]))
    sheet = Roofline(flops_per_s=flops, bytes_per_s=moved)
    assert sheet.predict(product) == pytest.approx([expected_ms])


def test_overheads_count_once_for_a_call_and_for_each_product_that_runs():
    layers = costs.linear(1, np.ones((2, 3)), np.ones((2, 3)))
    total = layers.where(np.asarray([[1, 1, 1], [1, 0, 0]])).over_layers()
    sheet = Roofline(
        flops_per_s=1e15, bytes_per_s=1e15, overhead_ms=5.0, product_ms=2.0
    )
    assert sheet.predict(total) == pytest.approx([11.0, 7.0])


def test_smaller_numbers_move_faster():
    product = costs.linear(2, np.asarray([3]), np.asarray([4]))
    wide = Roofline(flops_per_s=1e15, bytes_per_s=1e3)
    narrow = Roofline(flops_per_s=1e15, bytes_per_s=1e3, bytes_per_value=1.0)
    assert wide.predict(product) == pytest.approx(4 * narrow.predict(product))


@each_model
def test_products_of_a_model_are_all_that_it_computes(name):
    spec, example = MODELS[name]
    genotypes = spec.space().sample(8, np.random.default_rng(0))
    cost = spec.cost(genotypes, batch=2, example=example)
    each = [p.macs.sum(-1) if p.macs.ndim == 2 else p.macs for p in cost.products]
    assert (sum(each) == cost.macs).all()
    # And where memory costs nothing, latency is what computing them takes.
    sheet = Roofline(flops_per_s=1e9, bytes_per_s=1e30)
    expected = spec.costs(genotypes, batch=2, example=example)["flops"] / 1e6
    np.testing.assert_allclose(sheet.predict(cost), expected)


@each_model
def test_what_does_not_run_moves_nothing(name):
    spec, example = MODELS[name]
    smallest = spec.space().smallest[None]
    cost = spec.cost(smallest, batch=2, example=example)
    for macs, values, moved in cost.products:
        assert (values[macs == 0] == 0).all()
        assert (moved[macs == 0] == 0).all()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("flops_per_s", 0.0, "flops_per_s must be positive"),
        ("bytes_per_s", -1.0, "bytes_per_s must be positive"),
        ("bytes_per_value", float("inf"), "bytes_per_value must be positive"),
        ("overhead_ms", -0.1, "overhead_ms must not be negative"),
        ("product_ms", float("nan"), "product_ms must not be negative"),
    ],
)
def test_sheets_that_no_device_has_are_refused(field, value, message):
    fields = {"flops_per_s": 1.0, "bytes_per_s": 1.0} | {field: value}
    with pytest.raises(ValueError, match=message):
        Roofline(**fields)
