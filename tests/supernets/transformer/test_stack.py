"""A stack of layers of which either half may be dropped: costs and latency terms."""

import numpy as np

from supernets.transformer.stack import Stack


def stack(**changes):
    sizes = {"width": (8,), "heads": (0, 2), "ffn": (0, 6), "depth": (2,)}
    kind = {"depth_rule": "prefix", "head_dim": 4, "gated": False, "norm": "layer"}
    return Stack(**{**sizes, **kind, **changes})


def genotypes(*rows):
    """Genotypes of depth, width, heads of each layer and hidden units of each."""
    return np.asarray(rows, np.int32)


def test_a_half_that_is_dropped_costs_nothing_with_its_norm():
    rows = genotypes([0, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 1])
    found = stack().cost(rows, batch=3, tokens=5)
    attention, feed_forward = 4 * 8 * 2 * 4, 2 * 8 * 6
    assert found.params.tolist() == [0, attention + 16, feed_forward + 16]
    scores = 2 * 3 * 5 * 5 * 2 * 4
    assert found.macs.tolist() == [0, 15 * attention + scores, 15 * feed_forward]


def test_a_norm_that_is_dropped_has_the_vectors_of_its_kind():
    rows = genotypes([0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1])
    layer, rms = (
        stack(norm=norm).cost(rows, batch=1, tokens=1).params
        for norm in ("layer", "rms")
    )
    assert (layer - rms).tolist() == [0, 8]


def test_terms_count_the_halves_that_run():
    rows = genotypes([0, 0, 1, 0, 1, 1], [0, 0, 0, 0, 0, 0])
    assert stack().latency_terms(rows).tolist() == [
        [1, 8, 1, 2 * 8, 2, 2 * 6 * 8, 2 * 6, 3 * 8, 2],
        [1, 8, 0, 0, 0, 0, 0, 0, 0],
    ]


def test_terms_count_the_tiles_of_widths_that_do_not_fill_them():
    shape = {"heads": (1,), "ffn": (3,), "depth": (2,)}
    narrow = stack(width=(96, 128, 256), **shape)
    rows = genotypes(*([0, width, 0, 0, 0, 0] for width in range(3)))
    assert narrow.latency_terms(rows).shape[1] == 8
    ragged = stack(width=(128, 192, 256), **shape).latency_terms(rows)
    assert ragged[:, 8:].tolist() == [[2, 6], [4, 12], [4, 12]]


def test_terms_of_layers_that_are_whole_do_not_repeat_themselves():
    rows = genotypes([0, 0, 1, 1, 0, 1])
    terms = stack(heads=(1, 2)).latency_terms(rows)
    assert terms.shape[1] == 9
    whole = stack(heads=(1, 2), ffn=(3, 6))
    assert whole.latency_terms(rows).tolist() == [[1, 8, 2, 4 * 8, 4, 9 * 8, 9, 4 * 8]]
