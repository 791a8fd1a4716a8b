"""The sheet of a device that is not here, and the latencies that it allows."""

import dataclasses
import difflib
from pathlib import Path

from nas.errors import RunError, UsageError
from nas.experiment import Experiment
from nas.profile import LatencyProfile
from nas.rundir import read_json
from supernets.roofline import Roofline

EXAMPLE = "flops_per_s=1e12,bytes_per_s=5e10,overhead_ms=0.1"

FIELDS = tuple(field.name for field in dataclasses.fields(Roofline))
NEEDED = ("flops_per_s", "bytes_per_s")


def sheet_profile(experiment: Experiment, sheet: str, *, device: str) -> LatencyProfile:
    """Returns the profile of a device's sheet; nothing is measured.

    Args:
        experiment: Whose space and input are priced.
        sheet: ``NAME=NUMBER,...``, or a JSON file of the same fields.
        device: What the sheet is of.

    Raises:
        UsageError: If the sheet is none.
    """
    return LatencyProfile(
        device=device,
        fingerprint=experiment.model.space().fingerprint,
        batch=experiment.latency.batch,
        example=experiment.data.example,
        measurements=(),
        model=read_sheet(sheet),
        error=None,
        kind="roofline",
    )


def read_sheet(sheet: str) -> Roofline:
    """Reads a device's sheet; see `sheet_profile`.

    Raises:
        UsageError: If a field is missing, unknown, or no legal number.
    """
    fields = _written(sheet) if "=" in sheet else _stored(Path(sheet))
    if unknown := [name for name in fields if name not in FIELDS]:
        near = difflib.get_close_matches(unknown[0], FIELDS)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(
            f"--roofline: no field {unknown[0]!r}; {hint}There are {', '.join(FIELDS)}"
        )
    if missing := [name for name in NEEDED if name not in fields]:
        raise UsageError(
            f"--roofline lacks {' and '.join(missing)}; write for example {EXAMPLE!r}"
        )
    try:
        numbers = {name: float(str(value)) for name, value in fields.items()}
        return Roofline(**numbers)
    except ValueError as error:
        raise UsageError(f"--roofline: {error}") from error


def _written(sheet: str) -> dict[str, object]:
    fields: dict[str, object] = {}
    for part in sheet.split(","):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not (name and equals and value):
            raise UsageError(
                f"--roofline: {part!r} is not NAME=NUMBER; write for example "
                f"{EXAMPLE!r}"
            )
        if name in fields:
            raise UsageError(f"--roofline gives {name} twice")
        fields[name] = value
    return fields


def _stored(path: Path) -> dict[str, object]:
    try:
        return read_json(path)
    except (RunError, OSError) as error:
        raise UsageError(
            f"--roofline: {error}; give a JSON file, or the fields themselves, such as "
            f"{EXAMPLE!r}"
        ) from error
