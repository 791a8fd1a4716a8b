"""Profiles of named devices: given, kept in the run, and refused where they differ."""

import dataclasses
from pathlib import Path

import pytest

from nas.errors import UsageError
from nas.experiment import Latency, Search
from nas.latency.devices import (
    gathered_devices,
    given_files,
    known_profiles,
    store_devices,
    stored_devices,
)
from nas.latency.sheet import sheet_profile
from nas.rundir import RunDirectory, write_json
from tests.nas.latency.test_table import EXPERIMENT

SHEET = "flops_per_s=1e12,bytes_per_s=5e10"
PHONE = sheet_profile(EXPERIMENT, SHEET, device="Pixel")


@pytest.fixture
def run(tmp_path):
    return RunDirectory(tmp_path / "run")


def stored(tmp_path, profile=PHONE, name="phone.json"):
    write_json(tmp_path / name, profile.to_json())
    return tmp_path / name


def with_devices(*devices):
    latency = Latency(batch=2, devices=devices)
    return dataclasses.replace(EXPERIMENT, latency=latency)


def bounded(*constraints):
    return dataclasses.replace(EXPERIMENT, search=Search(constraints=constraints))


def test_files_are_for_this_machine_or_for_the_device_they_name():
    assert given_files([]) == (None, {})
    files = {"phone": Path("b.json"), "5g": Path("c=d.json")}
    assert given_files(["a.json", "phone=b.json", "5g=c=d.json"]) == (
        Path("a.json"),
        files,
    )


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a.json", "b.json"], "a.json and b.json are both for this machine; name"),
        (["x=a.json", "x=b.json"], "names the device 'x' twice"),
        (["a-b=c.json"], "device name 'a-b' must be of letters"),
        (["=c.json"], "device name '' must be of letters"),
        (["phone="], "'phone=' is not NAME=FILE"),
    ],
)
def test_texts_that_name_no_device_are_refused(texts, message):
    with pytest.raises(UsageError, match=message):
        given_files(texts)


def test_a_run_keeps_what_it_was_given_and_needs_no_file_any_more(tmp_path, run):
    path = stored(tmp_path)
    found = gathered_devices(EXPERIMENT, run, {"phone": path})
    assert found == {"phone": PHONE}
    store_devices(run, found)
    path.unlink()
    assert stored_devices(run) == found
    assert gathered_devices(EXPERIMENT, run, {}) == found
    # Nor does a recipe that names the file.
    recipe = with_devices(f"phone={path}")
    assert gathered_devices(recipe, run, {}) == found
    assert known_profiles(EXPERIMENT, None, {}, run) == (None, found)


def test_what_is_given_goes_before_what_the_recipe_names(tmp_path, run):
    other = dataclasses.replace(PHONE, device="another")
    recipe = with_devices(f"phone={stored(tmp_path)}", f"edge={stored(tmp_path)}")
    given = {"phone": stored(tmp_path, other, "other.json")}
    found = gathered_devices(recipe, run, given)
    assert found == {"phone": other, "edge": PHONE}


def test_a_changed_profile_is_refused_as_a_changed_field_is(tmp_path, run):
    store_devices(run, {"phone": PHONE})
    other = dataclasses.replace(PHONE, device="another")
    path = stored(tmp_path, other)
    message = r"phone\.json is not the profile of 'phone' that the run was begun with"
    with pytest.raises(UsageError, match=message):
        gathered_devices(EXPERIMENT, run, {"phone": path})
    with pytest.raises(UsageError, match=message):
        gathered_devices(with_devices(f"phone={path}"), run, {})


def test_a_profile_of_another_input_is_refused_with_its_device(tmp_path, run):
    other = dataclasses.replace(PHONE, batch=3)
    with pytest.raises(UsageError, match=r"device 'phone': the latency profile is of"):
        gathered_devices(EXPERIMENT, run, {"phone": stored(tmp_path, other)})


def test_a_missing_file_is_told(tmp_path, run):
    with pytest.raises(UsageError, match=r"absent\.json is missing"):
        gathered_devices(EXPERIMENT, run, {"phone": tmp_path / "absent.json"})


def test_a_limit_on_a_device_without_a_profile_is_told(run):
    limited = bounded("latency_ms_phone <= 30")
    message = r"no profile of a device 'phone'; give --latency-profile phone=FILE"
    with pytest.raises(UsageError, match=message):
        gathered_devices(limited, run, {})
    near = bounded("latency_ms_phnoe <= 30%")
    store_devices(run, {"phone": PHONE})
    with pytest.raises(UsageError, match=r"'latency_ms_phnoe': .*did you mean phone\?"):
        gathered_devices(near, run, {})
    assert set(gathered_devices(limited, run, {})) == {"phone"}


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        (("phone",), "'phone' is not NAME=FILE"),
        (("a b=c",), "device name 'a b' must be"),
        (("x=a", "x=b"), "devices share a name"),
    ],
)
def test_recipes_name_devices_with_their_files(devices, message):
    with pytest.raises(ValueError, match=message):
        Latency(devices=devices)
