"""Latencies that somebody measured elsewhere, as on a phone: a CSV with a row each.

A row says its subnet in one column ``arch``, the JSON of ``arch.json``, or in a column
for each choice: ``width``; of a choice that layers make, ``ffn.0``, ``ffn.1`` and so
on; and ``depth``, or under the free rule ``layers`` as a JSON list. What layers that do
not run have in their columns does not matter.
"""

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from nas.errors import UsageError
from nas.experiment import Experiment
from nas.metric_names import LATENCY
from nas.profile import LatencyProfile, Measurement, Role
from nas.rundir import write_bytes
from search.latency_model import evenly_held_out, fit_and_test
from search.space import Architecture, Genotypes, Space
from search.space.choice import Choice, Value

ARCH, LAYERS, DEPTH = "arch", "layers", "depth"

HELD_OUT = 5
"""One of so many rows tests the model."""

LEAST_TESTED = 2

DRAWN = 256
"""Members that tell what a space may differ in."""

Row = dict[str, str]


def table_profile(experiment: Experiment, path: Path, *, device: str) -> LatencyProfile:
    """Returns the profile of a table: with a model if there are rows enough for one.

    Args:
        experiment: Whose space and input were measured.
        path: The table.
        device: What was measured.

    Raises:
        UsageError: If the table is missing, empty or damaged, or says anything that
            cannot be: which row and column, and what is legal.
    """
    space = experiment.model.space()
    measured = read_table(path, space)
    genotypes = np.asarray(list(measured), np.int32)
    latencies = np.asarray(list(measured.values()))
    macs = experiment.model.costs(genotypes, batch=1, example=experiment.data.example)
    order = np.argsort(macs["macs"], kind="stable")
    genotypes, latencies = genotypes[order], latencies[order]
    terms = experiment.model.latency_terms(genotypes)
    model = error = None
    roles: list[Role] = ["member"] * len(genotypes)
    held_out = evenly_held_out(len(genotypes), len(genotypes) // HELD_OUT)
    complete = len(genotypes) >= space.size.value
    if not complete and _enough(experiment, terms, held_out):
        model, error = fit_and_test(terms, latencies, held_out)
        roles = ["held_out" if test else "fit" for test in held_out]
    rows = zip(genotypes.tolist(), roles, latencies.tolist(), strict=True)
    return LatencyProfile(
        device=device,
        fingerprint=space.fingerprint,
        batch=experiment.latency.batch,
        example=experiment.data.example,
        measurements=tuple(
            Measurement(tuple(genotype), role, latency, (latency,))
            for genotype, role, latency in rows
        ),
        model=model,
        error=error,
        kind="table",
    )


def _enough(
    experiment: Experiment,
    terms: Float[np.ndarray, "rows terms"],
    held_out: Bool[np.ndarray, " rows"],
) -> bool:
    """Says whether rows determine a model of the whole space, and test it.

    Rows that are alike, as all of one depth, leave some of its weights open.
    """
    fitted = terms[~held_out]
    if held_out.sum() < LEAST_TESTED or len(fitted) < terms.shape[1]:
        return False
    drawn = experiment.model.space().sample(DRAWN, np.random.default_rng(0))
    others = experiment.model.latency_terms(drawn)
    everything = np.concatenate([fitted, others])
    scale = np.maximum(everything.max(0), 1.0)
    ranks = [np.linalg.matrix_rank(part / scale) for part in (fitted, everything)]
    return bool(ranks[0] == ranks[1])


def rows_for_a_model(experiment: Experiment) -> int:
    """Returns how many rows a table needs at least to have a model fitted to it."""
    largest = experiment.model.space().largest[None]
    terms = experiment.model.latency_terms(largest).shape[1]
    count = terms
    while count - count // HELD_OUT < terms or count // HELD_OUT < LEAST_TESTED:
        count += 1
    return count


def read_table(path: Path, space: Space) -> dict[tuple[int, ...], float]:
    """Returns the latency of each canonical genotype of a table, in ms.

    Raises:
        UsageError: See `table_profile`.
    """
    columns, rows = _parsed(path)
    _require_columns(path, columns, space)
    found: dict[tuple[int, ...], float] = {}
    where: dict[tuple[int, ...], int] = {}
    for number, row in rows:
        try:
            architecture = _architecture(row, space)
            genotype = tuple(space.encode(architecture).tolist())
            latency = _latency(row)
        except ValueError as error:
            raise UsageError(f"{path}, line {number}: {error}") from error
        if found.setdefault(genotype, latency) != latency:
            raise UsageError(
                f"{path}: lines {where[genotype]} and {number} are of one subnet, with "
                f"{found[genotype]:g} and {latency:g} ms; keep one of them, such as "
                "the median of all its measurements"
            )
        where.setdefault(genotype, number)
    if not found:
        raise UsageError(f"{path} has no rows; give one for each measured subnet")
    return found


def write_template(path: Path, space: Space, genotypes: Genotypes) -> None:
    """Writes a table of subnets to measure, without their latencies."""
    lines = [[ARCH, LATENCY]]
    lines += [[json.dumps(space.decode(g).to_json()), ""] for g in genotypes]
    quoted = [",".join(_quoted(cell) for cell in line) for line in lines]
    write_bytes(path, ("\n".join(quoted) + "\n").encode())


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if "," in cell or '"' in cell else cell


def _parsed(path: Path) -> tuple[Sequence[str], list[tuple[int, Row]]]:
    """Returns the columns, and rows with the lines that they end at."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, skipinitialspace=True, strict=True)
            lines = [(reader.line_num, [c.strip() for c in cells]) for cells in reader]
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist; give a CSV of latencies") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as a CSV ({error})") from error
    if not lines:
        raise UsageError(f"{path} is empty; its first line must name the columns")
    (_, columns), *lines = lines
    rows: list[tuple[int, Row]] = []
    for number, cells in lines:
        if not cells:
            continue
        if len(cells) != len(columns):
            raise UsageError(
                f"{path}, line {number}: {len(cells)} values for the {len(columns)} "
                "columns; quote what has a comma in it"
            )
        rows.append((number, dict(zip(columns, cells, strict=True))))
    return columns, rows


def _require_columns(path: Path, columns: Sequence[str], space: Space) -> None:
    if repeated := sorted({name for name in columns if columns.count(name) > 1}):
        raise UsageError(f"{path} has the columns {repeated} more than once")
    missing = [name for name in (LATENCY,) if name not in columns]
    if ARCH not in columns:
        missing += [name for name in _wanted(space, columns) if name not in columns]
    if missing:
        raise UsageError(
            f"{path} lacks the columns {missing}; it has {list(columns)}. A subnet is "
            f"said by the JSON of its arch.json in a column {ARCH!r}, or by a column "
            f"each for {_wanted(space, columns)}"
        )


def _wanted(space: Space, columns: Sequence[str]) -> list[str]:
    """Returns the columns that say a subnet, where none does so alone."""
    each = [
        name for choice in space.choices for name in _columns_of(choice, space.layers)
    ]
    if space.free or LAYERS in columns:
        return [LAYERS, *each]
    return each if space.depth is None else [DEPTH, *each]


def _columns_of(choice: Choice, layers: int) -> list[str]:
    if not choice.per_layer:
        return [choice.name]
    return [f"{choice.name}.{layer}" for layer in range(layers)]


def _architecture(row: Row, space: Space) -> Architecture:
    if ARCH in row:
        return Architecture.from_json(_json(ARCH, row[ARCH]))
    layers = _layers(row, space)
    shared = [c for c in space.choices if not c.per_layer]
    per_layer = [c for c in space.choices if c.per_layer]
    return Architecture(
        layers,
        tuple((c.name, _chosen(c, c.name, row)) for c in shared),
        tuple(
            (c.name, tuple(_chosen(c, f"{c.name}.{i}", row) for i in layers))
            for c in per_layer
        ),
    )


def _layers(row: Row, space: Space) -> tuple[int, ...]:
    """Returns which layers run."""
    if LAYERS in row:
        layers = _json(LAYERS, row[LAYERS])
        if not isinstance(layers, list) or any(type(i) is not int for i in layers):
            raise ValueError(f"{LAYERS} is {row[LAYERS]!r}, not a list as [0, 2, 3]")
        return tuple(layers)
    if space.depth is None:
        return tuple(range(space.layers))
    depth = _chosen(Choice(DEPTH, space.depth.values), DEPTH, row)
    kept = space.depth.kept(space.layers)[space.depth.values.index(int(depth))]
    return tuple(np.flatnonzero(kept).tolist())


def _chosen(choice: Choice, column: str, row: Row) -> Value:
    """Returns the value of a choice that a cell names."""
    for value in choice.values:
        if row[column] == str(value) or _number(row[column]) == value:
            return value
    raise ValueError(f"{column} is {row[column]!r}; the space has {choice.values}")


def _latency(row: Row) -> float:
    latency = _number(row[LATENCY])
    if latency is None or not (math.isfinite(latency) and latency > 0):
        raise ValueError(
            f"{LATENCY} is {row[LATENCY]!r}; it must be a positive number of "
            "milliseconds"
        )
    return latency


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _json(column: str, cell: str) -> object:
    try:
        return json.loads(cell)
    except ValueError as error:
        raise ValueError(f"{column} is {cell!r}, which is no JSON ({error})") from error
