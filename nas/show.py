"""`nas show`: what a run would be, before anything is spent on it."""

import numpy as np
from rich.console import Console
from rich.table import Table

from nas.data.dataset import in_words
from nas.errors import UsageError
from nas.experiment import Experiment
from nas.metrics import LANDMARKS, CheapMetrics
from nas.report import words


def show(
    experiment: Experiment,
    console: Console,
    *,
    compiled: bool = False,
    cheap: CheapMetrics | None = None,
) -> None:
    """Prints the space, its landmarks and what training and search would do.

    Args:
        experiment: What to show.
        console: Where.
        compiled: Whether to compile the training step too, to tell its memory.
        cheap: Prices landmarks; with latencies, if profiles were given.
    """
    space = experiment.model.space()
    axes = Table(title=f"Space: {space.size} subnets", title_justify="left")
    for heading in ("axis", "values", "decided"):
        axes.add_column(heading)
    if space.depth is not None:
        values = ", ".join(str(value) for value in space.depth.values)
        axes.add_row("depth", values, f"once ({space.depth.rule})")
    for choice in space.choices:
        values = ", ".join(str(value) for value in choice.values)
        axes.add_row(
            choice.name,
            values,
            f"{space.layers} times, per layer" if choice.per_layer else "once",
        )
    console.print(axes)
    console.print(_landmarks(experiment, cheap or CheapMetrics.of(experiment, None)))
    train, search = experiment.train, experiment.search
    console.print(_phases(experiment))
    console.print(
        f"batch: {in_words(train.batch, experiment.data.example)}\n"
        f"search: {search.evaluations} subnets by each of "
        + ", ".join(type(algorithm).__name__ for algorithm in search.algorithms)
        + (f", from {search.seeds} seeds each" if search.seeds > 1 else "")
        + f"\nobjectives: {', '.join(search.objectives)}"
        f"\nconstraints: {', '.join(search.constraints) or 'none'}",
        highlight=False,
    )
    console.print(_executions(experiment))
    console.print(_needs(experiment), highlight=False)
    if compiled:
        console.print(_compiled(experiment), highlight=False)


def _needs(experiment: Experiment) -> str:
    """Says what training takes of the devices here: memory, work, and time at least."""
    import jax

    from nas.dry import layout_of, state_shapes
    from nas.forecast import device_flops, forecast
    from supernets.sharding.memory import memory_of

    train, expected = experiment.train, forecast(experiment)
    state, misfit = state_shapes(experiment), ""
    try:
        layout = layout_of(experiment)
    except UsageError as error:
        # What it would take can be told all the same, of one device.
        layout, misfit = None, f"not on the devices here: {error}\n"
    devices = 1 if layout is None else layout.mesh.size
    speed = device_flops(train.compute) * devices
    seconds = expected.step_flops * train.steps / speed
    held = memory_of(layout, state)
    kind = jax.devices()[0].device_kind
    return (
        f"Training on {devices} x {kind}\n"
        f"{misfit}"
        f"memory per device: {_size(held.per_device)} of weights, moments and "
        f"averages, {_size(held.gathered)} of weights gathered for a step; "
        "gradients and activations come on top (--compile tells them)\n"
        f"work: {expected.step_flops:.3g} FLOPs in a mean step, "
        f"{expected.step_flops * train.steps:.3g} in all\n"
        f"time: at least {_duration(seconds)}, at the {speed:.3g} FLOPs in a second "
        "that products of large matrices reach here"
    )


def _compiled(experiment: Experiment) -> str:
    """Says what the compiled step of the longest phase holds in memory."""
    from nas.forecast import step_memory

    held = step_memory(experiment)
    return (
        f"compiled step: {_size(held.arguments)} of state and batch, "
        f"{_size(held.temporaries)} of activations, gradients and what else it "
        "needs for a while, on each device"
    )


def _size(count: int) -> str:
    """Writes a number of bytes as people say it.

    >>> _size(42_420_000), _size(12_130_900_000)
    ('42.4 MB', '12.1 GB')
    """
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def _duration(seconds: float) -> str:
    """Writes a time as people say it.

    >>> _duration(42.4), _duration(4000.0), _duration(200_000.0)
    ('42 s', '67 min', '2.3 days')
    """
    for size, unit, least in ((86_400, "days", 2), (60, "min", 2)):
        if seconds >= least * size:
            count = seconds / size
            return f"{count:.1f} {unit}" if unit == "days" else f"{count:.0f} {unit}"
    return f"{seconds:.0f} s"


def _phases(experiment: Experiment) -> Table:
    space, phases = experiment.model.space(), experiment.train.phases
    table = Table(title="Training", title_justify="left")
    for heading in ("steps", "policy", "trains in a step", "elastic", "full steps"):
        table.add_column(heading, overflow="fold")
    bounds = experiment.plan().starts
    for phase, start, end in zip(phases, bounds[:-1], bounds[1:], strict=True):
        roles = [slot.role for slot in phase.slots(space)]
        counts = [f"{roles.count(role)} {role}" for role in dict.fromkeys(roles)]
        elastic = "all" if phase.elastic is None else ", ".join(phase.elastic)
        table.add_row(
            f"{start + 1}-{end}",
            type(phase.policy).__name__,
            ", ".join(counts),
            elastic or "nothing",
            f"{phase.full:.0%}",
        )
    return table


def _executions(experiment: Experiment) -> Table:
    # Imported here: what is printed above needs no network library.
    import jax
    from flax import nnx

    from kernels.dispatch import forced
    from supernets.execution import decisions, outer_branches

    model, data = experiment.model, experiment.data
    supernet = nnx.eval_shape(lambda: model.build(rngs=nnx.Rngs(0)))
    branches = outer_branches(model.space())
    batches = {"train": experiment.train.batch, "search": experiment.search.examples}
    execution = forced(experiment.execution)
    title = f"Sampled subnets, execution {execution!r} on {jax.default_backend()}"
    if branches[0] and execution != "masked":
        names = " and ".join(branches[0])
        title += f", one branch for each of {len(branches)} choices of {names}"
    table = Table(title=title, title_justify="left")
    for heading in ("stage", "operation", "runs", "because"):
        table.add_column(heading, overflow="fold")
    for stage, batch in batches.items():
        inputs = jax.ShapeDtypeStruct((batch, *data.example), data.dtype)
        made = decisions(supernet, model.space(), inputs, execution=execution)
        for decision in dict.fromkeys(made):
            table.add_row(stage, *decision)
    return table


def _landmarks(experiment: Experiment, cheap: CheapMetrics) -> Table:
    space = experiment.model.space()
    inputs = in_words(experiment.latency.batch, experiment.data.example)
    table = Table(title=f"Subnets, on an input of {inputs}", title_justify="left")
    table.add_column("subnet")
    further = (*cheap.profiles, *experiment.search.own)
    for heading in ("parameters", "MACs", "memory (MB)", *further):
        table.add_column(heading, justify="right")
    table.add_column("architecture", overflow="fold")
    genotypes = np.stack([getattr(space, label) for label in LANDMARKS])
    costs = cheap(genotypes)
    for row, label in enumerate(LANDMARKS):
        architecture = words.architecture(space.decode(genotypes[row]).to_json())
        described = ", ".join(f"{name} {value}" for name, value in architecture)
        table.add_row(
            label,
            f"{costs['params'][row]:,.0f}",
            f"{costs['macs'][row]:,.0f}",
            f"{costs['memory_mb'][row]:.2f}",
            *(f"{costs[name][row]:.4g}" for name in further),
            described,
        )
    return table
