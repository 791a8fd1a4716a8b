"""`nas bench latency`: makes a device's latency profile, a file that runs can use."""

import dataclasses
import re
from pathlib import Path

from rich.console import Console
from rich.table import Table

from nas.errors import UsageError
from nas.experiment import Experiment
from nas.latency.sample import chosen
from nas.latency.sheet import sheet_profile
from nas.latency.table import rows_for_a_model, table_profile, write_template
from nas.profile import LatencyProfile
from nas.rundir import RunDirectory, short_path, write_json


@dataclasses.dataclass(frozen=True)
class BenchOptions:
    """Which device is profiled, and how."""

    device: str = ""
    """What the device is called; by default this machine's processor."""
    out: Path | None = None
    """File of the profile; by default DEVICE.json here."""
    csv: Path | None = None
    """Latencies that were measured elsewhere, to import instead of measuring."""
    roofline: str | None = None
    """Sheet of a device that nobody measured, as "flops_per_s=1e12,bytes_per_s=5e10"
    and, if known, overhead_ms, product_ms and bytes_per_value; or a JSON of these."""
    template: Path | None = None
    """Only write a CSV of the subnets that are worth measuring elsewhere."""

    def __post_init__(self) -> None:
        ways = ("csv", "roofline", "template")
        given = [f"--{way}" for way in ways if getattr(self, way) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are different things; give one")
        if given and given != ["--template"] and not self.device:
            raise ValueError(f"{given[0]} is of another device; name it with --device")


def bench_latency(
    experiment: Experiment,
    options: BenchOptions,
    console: Console,
    *,
    run: RunDirectory | None = None,
) -> LatencyProfile | None:
    """Measures this device, or takes over what is known of another; writes a profile.

    Latency depends on sizes alone: without a trained supernet, random weights do.

    Args:
        experiment: Whose space, input and effort.
        options: Which device, and how.
        console: Where it speaks.
        run: A run that may have a trained supernet.

    Returns:
        The profile; none if only a template was wanted.

    Raises:
        UsageError: If a file that was given will not do, or one to be written is there.
    """
    if options.template is not None:
        _template(experiment, options.template, console)
        return None
    device = options.device or _this_device()
    out = options.out or Path(f"{_slug(device)}.json")
    _require_free(out, "--out")
    if options.csv is not None:
        profile = table_profile(experiment, options.csv, device=device)
    elif options.roofline is not None:
        profile = sheet_profile(experiment, options.roofline, device=device)
    else:
        profile = _measured(experiment, device, console, run)
    write_json(out, profile.to_json())
    tell(experiment, profile, console)
    told = f"profile: {short_path(out.absolute())}"
    console.print(told, highlight=False, soft_wrap=True)
    return profile


def tell(experiment: Experiment, profile: LatencyProfile, console: Console) -> None:
    """Prints what a profile says of the smallest, middle and largest subnet."""
    console.print(f"latency on {profile.device}: {profile.in_words()}", highlight=False)
    if profile.kind == "table" and profile.model is None:
        needed = rows_for_a_model(experiment)
        held, size = len(profile.measurements), experiment.model.space().size
        if held < size.value:
            console.print(
                f"the table has {held} of {size} subnets; {needed} or more that differ "
                "in everything, as those of --template, give a model for all of them",
                highlight=False,
            )
        return
    space = experiment.model.space()
    table = Table(title="Predicted", title_justify="left")
    table.add_column("subnet")
    table.add_column("latency (ms)", justify="right")
    for label in ("smallest", "middle", "largest"):
        value = profile.predict(getattr(space, label)[None], experiment.model)[0]
        table.add_row(label, f"{value:.3g}")
    console.print(table)


def _measured(
    experiment: Experiment, device: str, console: Console, run: RunDirectory | None
) -> LatencyProfile:
    # Imported here: importing what was measured elsewhere needs no network library.
    from flax import nnx

    from nas.latency.measuring import measured_profile
    from nas.supernet import load_supernet

    if run is not None and run.supernet.exists():
        supernet = load_supernet(run)
    else:
        supernet = experiment.model.build(rngs=nnx.Rngs(experiment.seed))
    return measured_profile(experiment, supernet, device=device, console=console)


def _template(experiment: Experiment, path: Path, console: Console) -> None:
    _require_free(path, "--template")
    latency = experiment.latency
    fit = max(latency.fit, rows_for_a_model(experiment) - latency.held_out)
    latency = dataclasses.replace(latency, fit=fit)
    genotypes, _ = chosen(dataclasses.replace(experiment, latency=latency))
    write_template(path, experiment.model.space(), genotypes)
    console.print(
        f"{short_path(path.absolute())}: {len(genotypes)} subnets; fill in latency_ms, "
        "then import it with --csv",
        highlight=False,
        soft_wrap=True,
    )


def _this_device() -> str:
    from nas.provenance import processor

    return processor()


def _require_free(path: Path, option: str) -> None:
    if path.exists():
        raise UsageError(f"{option}: {path} exists; remove it, or give another file")


def _slug(device: str) -> str:
    """Returns a file name.

    >>> _slug("AMD EPYC 7B13 (2 cores)")
    'amd-epyc-7b13-2-cores'
    """
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-") or "device"
