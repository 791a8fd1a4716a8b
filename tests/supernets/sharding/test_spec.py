"""Axes as plain values: how many devices each has."""

import subprocess
import sys

import jax
import pytest

from supernets.sharding.spec import AXES, Parallel


@pytest.mark.parametrize(
    ("axes", "count", "sizes"),
    [
        ({}, 1, (1, 1, 1)),
        ({}, 8, (8, 1, 1)),
        ({"fsdp": 2, "tensor": 2}, 8, (2, 2, 2)),
        ({"data": 2, "fsdp": 3}, 6, (2, 3, 1)),
    ],
)
def test_the_data_axis_takes_the_devices_that_are_left(axes, count, sizes):
    assert Parallel(**axes).sizes(count) == sizes


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"fsdp": 3}, "fsdp 3 x tensor 1 = 3 does not divide the 4 devices"),
        ({"data": 4, "tensor": 2}, "= 8 devices, but there are 4; let data be -1"),
    ],
)
def test_axes_that_do_not_fit_the_devices_are_refused(axes, message):
    with pytest.raises(ValueError, match=message):
        Parallel(**axes).mesh()


def test_the_first_devices_are_taken_where_there_are_more():
    mesh = Parallel(data=1, tensor=2).mesh()
    assert list(mesh.devices.flat) == jax.devices()[:2]


@pytest.mark.parametrize("axes", [{"data": 0}, {"fsdp": -1}, {"tensor": 0}])
def test_a_size_that_is_not_positive_is_refused(axes):
    (name,) = axes
    with pytest.raises(ValueError, match=f"{name} must be positive"):
        Parallel(**axes)


def test_a_mesh_has_the_devices_that_it_is_given():
    mesh = Parallel(tensor=2).mesh(jax.devices()[:2])
    assert mesh.axis_names == AXES
    assert dict(mesh.shape) == {"data": 1, "fsdp": 1, "tensor": 2}
    assert set(mesh.devices.flat) == set(jax.devices()[:2])


def test_axes_are_read_without_an_array_library():
    program = (
        "import sys, supernets.sharding.spec as s; s.Parallel();"
        "sys.exit(any(name in sys.modules for name in ('jax', 'flax', 'optax')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
