"""Schemes: shapes of scales, ranges of codes, and wrong values."""

import pytest

from kernels.quantization.scheme import ActivationScheme, Codes, Scheme


def test_codes_of_weights_are_signed_and_those_of_activations_need_not_be():
    codes, unsigned = Codes(), ActivationScheme(signed=False)
    assert [(codes.lowest(b), codes.highest(b)) for b in (2, 8)] == [
        (-2, 1),
        (-128, 127),
    ]
    assert [(unsigned.lowest(b), unsigned.highest(b)) for b in (2, 8)] == [
        (0, 3),
        (0, 255),
    ]
    assert ActivationScheme().lowest(4) == -8


@pytest.mark.parametrize(
    ("scheme", "shape", "sharing"),
    [
        (Scheme(granularity="tensor"), (1, 1), 96),
        (Scheme(), (1, 8), 12),
        (Scheme(granularity="group", group_size=4), (3, 8), 4),
        (Scheme(granularity="group", group_size=12), (1, 8), 12),
    ],
)
def test_scales_are_those_of_groups_and_channels(scheme, shape, sharing):
    assert scheme.scale_shape(12, 8) == shape
    assert scheme.sharing(12, 8) == sharing


def test_a_prefix_may_end_within_a_group():
    scheme = Scheme(granularity="group", group_size=4)
    assert [scheme.cut_shape(n, 5) for n in (0, 1, 4, 5)] == [
        (0, 5),
        (1, 5),
        (1, 5),
        (2, 5),
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"widths": ()}, "ascending and different, got ()"),
        ({"widths": (4, 2)}, "ascending and different"),
        ({"widths": (4, 4)}, "ascending and different"),
        ({"widths": (1, 4)}, "cannot have 1 bits: take 2 to 8, or 16 to leave"),
        ({"widths": (4, 9)}, "cannot have 9 bits"),
        ({"widths": (4, 16)}, "cannot have 16 bits"),
        ({"granularity": "group"}, "needs a group_size of at least 1 input, as 64"),
        ({"granularity": "group", "group_size": 0}, "got 0"),
        ({"group_size": 4}, "is for granularity 'group', which is 'channel'"),
    ],
)
def test_values_out_of_range_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Scheme(**values)


@pytest.mark.parametrize(
    ("inputs", "size", "instead"), [(100, 64, 50), (96, 64, 48), (7, 64, 7)]
)
def test_groups_that_do_not_divide_are_told_what_does(inputs, size, instead):
    scheme = Scheme(granularity="group", group_size=size)
    with pytest.raises(
        ValueError, match=f"do not divide {inputs} inputs: take {instead}"
    ):
        scheme.scale_shape(inputs, 8)


def test_a_width_without_scales_is_told_what_there_is():
    with pytest.raises(ValueError, match="no scale for 3 bits: widths are"):
        Scheme(widths=(2, 4)).row(3)
