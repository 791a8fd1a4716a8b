"""Stage 2: measure extracted subnets on this device and fit the latency model.

A space with no more members than would be measured has all of them measured instead.
"""

from collections.abc import Sequence

from nas.latency import measuring
from nas.profile import LatencyProfile, Measurement, Role
from nas.provenance import processor
from nas.rundir import write_json
from nas.stages.context import Context
from nas.supernet import load_supernet
from search.space import Genotypes


def calibrate(context: Context) -> None:
    """Writes the latency profile: the given one, or one measured here.

    Raises:
        UsageError: If the given profile is damaged or of another space or input.
    """
    profile = context.given_profile() or _measured(context)
    write_json(context.run.device, profile.to_json())
    context.tell(f"latency on {profile.device}: {profile.in_words()}")


def _measured(context: Context) -> LatencyProfile:
    return measuring.measured_profile(
        context.experiment,
        load_supernet(context.run),
        device=processor(),
        console=context.console,
    )


def measure_subnets(
    context: Context, genotypes: Genotypes, roles: Sequence[Role]
) -> tuple[Measurement, ...]:
    """Extracts, compiles and times subnets of a trained supernet together."""
    return measuring.measure_subnets(
        context.experiment,
        load_supernet(context.run),
        genotypes,
        roles,
        console=context.console,
    )
