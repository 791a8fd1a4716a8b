"""Latency profiles of named devices, kept in the run directory.

A device ``phone`` gives the metric ``latency_ms_phone``. Its profile is copied into the
run, so that going on needs neither the file nor the option that named it.
"""

import dataclasses
import difflib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from nas.errors import UsageError
from nas.experiment import Experiment
from nas.metric_names import device_and_file, device_of
from nas.profile import LatencyProfile
from nas.rundir import RunDirectory, write_json


def given_files(texts: Iterable[str]) -> tuple[Path | None, dict[str, Path]]:
    """Returns the file that was given for this machine, and those by device.

    Args:
        texts: ``FILE``, at most once, and ``NAME=FILE``.

    Raises:
        UsageError: If a name is none, or comes twice.
    """
    own: Path | None = None
    files: dict[str, Path] = {}
    for text in texts:
        if "=" not in text:
            if own is not None:
                raise UsageError(
                    f"--latency-profile: {own} and {text} are both for this machine; "
                    f"name the device of one, as 'phone={text}'"
                )
            own = Path(text)
            continue
        try:
            name, file = device_and_file(text)
        except ValueError as error:
            raise UsageError(f"--latency-profile: {error}") from error
        if name in files:
            raise UsageError(f"--latency-profile names the device {name!r} twice")
        files[name] = Path(file)
    return own, files


def stored_devices(run: RunDirectory) -> dict[str, LatencyProfile]:
    """Returns the profiles that a run directory holds."""
    files = sorted(run.devices.glob("*.json"))
    return {file.stem: LatencyProfile.load(file) for file in files}


def given_profile(experiment: Experiment, path: Path) -> LatencyProfile:
    """Returns the profile that is used instead of measuring.

    Raises:
        UsageError: If it is damaged, or of another space or input.
    """
    profile = LatencyProfile.load(path)
    _require_of(experiment, profile)
    return dataclasses.replace(profile, given=True)


def known_profiles(
    experiment: Experiment,
    own: Path | None,
    given: Mapping[str, Path],
    run: RunDirectory | None,
) -> tuple[LatencyProfile | None, dict[str, LatencyProfile]]:
    """Returns the profile of this machine, if there is one, and those by device.

    Args:
        experiment: Whose.
        own: File that was given instead of measuring.
        given: Files of further devices.
        run: Where an earlier command may have left some.

    Raises:
        UsageError: See `gathered_devices`.
    """
    profile = None if own is None else given_profile(experiment, own)
    if profile is None and run is not None and run.device.exists():
        profile = LatencyProfile.load(run.device)
    return profile, gathered_devices(experiment, run, given)


def gathered_devices(
    experiment: Experiment, run: RunDirectory | None, given: Mapping[str, Path]
) -> dict[str, LatencyProfile]:
    """Returns all profiles: those of the run, of its recipe, and those just given.

    Args:
        experiment: Whose recipe may name some, and whose space and input they must be
            of.
        run: What it has already.
        given: Files that go before those of the recipe.

    Raises:
        UsageError: If a file is no profile, or of another space or input, or not what
            the run was begun with; or if an objective or a constraint is on a device
            that nobody gave a profile of.
    """
    devices = {} if run is None else stored_devices(run)
    files = dict(map(device_and_file, experiment.latency.devices))
    for name, file in {**files, **given}.items():
        path = Path(file)
        # What a run holds outlives the file that a recipe named.
        if name in devices and name not in given and not path.exists():
            continue
        profile = LatencyProfile.load(path)
        if name in devices and not _same(profile, devices[name]):
            raise UsageError(
                f"{path} is not the profile of {name!r} that the run was begun with; "
                "go back to the old one to resume, or give another --out"
            )
        devices[name] = profile
    _require(experiment, devices)
    return devices


def store_devices(run: RunDirectory, devices: Mapping[str, LatencyProfile]) -> None:
    """Copies profiles into a run directory."""
    for name, profile in devices.items():
        write_json(run.devices / f"{name}.json", profile.to_json())


def _require(experiment: Experiment, devices: Mapping[str, LatencyProfile]) -> None:
    """Makes sure that profiles belong to the experiment and none is missing."""
    for name, profile in devices.items():
        try:
            _require_of(experiment, profile)
        except UsageError as error:
            raise UsageError(f"device {name!r}: {error}") from error
    search = experiment.search
    for metric in (*search.objectives, *(bound.metric for bound in search.bounds)):
        device = device_of(metric)
        if device is None or metric in search.own or device in devices:
            continue
        near = difflib.get_close_matches(device, devices)
        hint = f"did you mean {' or '.join(near)}? Else " if near else ""
        raise UsageError(
            f"nothing computes {metric!r}: there is no profile of a device "
            f"{device!r}; {hint}give --latency-profile {device}=FILE, which `nas "
            "bench latency` writes"
        )


def _require_of(experiment: Experiment, profile: LatencyProfile) -> None:
    profile.require(
        fingerprint=experiment.model.space().fingerprint,
        batch=experiment.latency.batch,
        example=experiment.data.example,
    )


def _same(profile: LatencyProfile, other: LatencyProfile) -> bool:
    # As text: a correlation that is not a number equals itself there.
    return json.dumps(profile.to_json()) == json.dumps(other.to_json())
