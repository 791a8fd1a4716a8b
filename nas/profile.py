"""The latency profile of a device: measurements, the model fitted to them, its error.

A profile is a JSON file that can be shared. It prices any subnet of the same space; a
subnet that was itself measured keeps its measured value. It says what it rests on:

============= =========================================================================
``measured``  every member of the space was measured on the device
``predicted`` some were, and a model fitted to them predicts the others
``table``     a file of measurements that somebody made elsewhere, with a model if it
              holds enough of them
``roofline``  the device's sheet: nothing was measured
============= =========================================================================
"""

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeGuard, get_args

import numpy as np
from jaxtyping import Float

from nas.data.dataset import in_words
from nas.errors import RunError, UsageError
from nas.rundir import read_json
from search.latency_model import LatencyModel, PredictionError
from search.space import Genotypes
from supernets.model import Model
from supernets.roofline import Roofline

Kind = Literal["measured", "predicted", "table", "roofline"]
Role = Literal["fit", "held_out", "front", "member"]

KINDS = get_args(Kind)
ROLES = get_args(Role)


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One measured subnet.

    Attributes:
        genotype: Its canonical genotype.
        role: Why it was measured: to fit the model, to test it, to verify a front, or
            because every member of the space was.
        latency_ms: The value that is used.
        samples_ms: Every sample, as the clock said.
        drift: How much slower the device was than when the model was fitted; the value
            that is used is divided by it, so that all values of a profile compare.
    """

    genotype: tuple[int, ...]
    role: Role
    latency_ms: float
    samples_ms: tuple[float, ...]
    drift: float = 1.0


@dataclasses.dataclass(frozen=True)
class LatencyProfile:
    """A device's latency model with its evidence.

    Attributes:
        device: What was measured, for people.
        fingerprint: Of the space that genotypes belong to.
        batch: Examples in the measured call.
        example: Shape of each: (tokens,), or (height, width, channels).
        measurements: What was measured.
        model: Fitted to the measurements of role ``fit``, or the device's sheet;
            ``None`` where only what was measured has a latency.
        error: Of the model on those of role ``held_out``; ``None`` without any.
        kind: What it rests on.
        given: Whether the run was given this profile instead of measuring one; then its
            front is priced by it as well, and the run can be repeated exactly.
    """

    device: str
    fingerprint: str
    batch: int
    example: tuple[int, ...]
    measurements: tuple[Measurement, ...]
    model: LatencyModel | Roofline | None
    error: PredictionError | None
    kind: Kind = "predicted"
    given: bool = False

    def in_words(self) -> str:
        """Says what latencies rest on, and how far they can be relied on."""
        found = len(self.measurements)
        if self.kind == "roofline":
            return "roofline, not measured: its error is not known"
        if self.kind == "measured":
            return f"every member was measured, {found} subnets"
        basis = f"table of {found} subnets, " if self.kind == "table" else ""
        if self.error is None:
            return f"{basis}which alone have a latency"
        return (
            f"{basis}held-out error {self.error.mape_percent:.1f}%, "
            f"{self.error.within_10_percent:.0f}% within 10%, "
            f"tau {self.error.kendall_tau:.2f}"
        )

    def anchors(self, count: int) -> tuple[Measurement, ...]:
        """Returns measurements of the fit, from the fastest to the slowest.

        Where every member was measured, they are of all of them.
        """
        fitted = sorted(
            (m for m in self.measurements if m.role in ("fit", "member")),
            key=lambda measurement: measurement.latency_ms,
        )
        rows = np.linspace(0, len(fitted) - 1, min(count, len(fitted))).round()
        return tuple(fitted[int(row)] for row in rows)

    @functools.cached_property
    def measured(self) -> dict[tuple[int, ...], float]:
        """Measured latencies by genotype; what a front measured again counts last."""
        return {m.genotype: m.latency_ms for m in self.measurements}

    @functools.cached_property
    def _table(self) -> dict[tuple[int, ...], float]:
        """Latencies that were measured before any front was."""
        return self.before_front().measured

    def predict(
        self, genotypes: Genotypes, supernet: Model
    ) -> Float[np.ndarray, " population"]:
        """Returns latencies in ms: the model's, or those of the table without one.

        Args:
            genotypes: Members of the space, canonical.
            supernet: Whose space it is; it gives the terms of the model.

        Raises:
            UsageError: If there is no model and a member was not measured, or the
                model is of other terms.
        """
        if isinstance(self.model, Roofline):
            cost = supernet.cost(genotypes, batch=self.batch, example=self.example)
            return self.model.predict(cost)
        if self.model is not None:
            return self._modelled(self.model, supernet.latency_terms(genotypes))
        rows = [tuple(genotype) for genotype in genotypes.tolist()]
        if missing := [row for row in rows if row not in self._table]:
            arch = supernet.space().decode(np.asarray(missing[0], np.int32)).to_json()
            raise UsageError(
                f"the latency profile of {self.device} has no model, and no entry for "
                f"{json.dumps(arch)}: with {len(self._table)} entries it must hold "
                "every subnet that is asked for. Measure more of them: enough for a "
                "model (`nas bench latency` says how many), or all"
            )
        return np.asarray([self._table[row] for row in rows])

    def _modelled(
        self, model: LatencyModel, terms: Float[np.ndarray, "population terms"]
    ) -> Float[np.ndarray, " population"]:
        try:
            return model.predict(terms)
        except ValueError as error:
            message = f"the latency profile of {self.device}: {error}"
            raise UsageError(message) from error

    def before_front(self) -> "LatencyProfile":
        """Returns the profile as it was before any front was measured.

        Constraints are resolved against this one, so that verifying a front cannot
        move the limit that the front was searched under.
        """
        kept = tuple(m for m in self.measurements if m.role != "front")
        return dataclasses.replace(self, measurements=kept)

    def measured_or(
        self, genotypes: Genotypes, predicted: Float[np.ndarray, " population"]
    ) -> Float[np.ndarray, " population"]:
        """Returns measured latencies, and the given predictions where there is none."""
        pairs = zip(genotypes.tolist(), predicted.tolist(), strict=True)
        return np.asarray([self.measured.get(tuple(g), p) for g, p in pairs])

    def with_front(self, measurements: tuple[Measurement, ...]) -> "LatencyProfile":
        """Returns the profile with a front's measurements; the model stays."""
        return dataclasses.replace(
            self, measurements=(*self.measurements, *measurements)
        )

    def to_json(self) -> dict[str, object]:
        """Returns a JSON object; :meth:`load` reads it back."""
        return dataclasses.asdict(self)

    @classmethod
    def load(cls, path: Path) -> "LatencyProfile":
        """Reads a profile.

        Raises:
            UsageError: If the file is missing, damaged or no profile.
        """
        try:
            fields = read_json(path)
            return cls(
                device=str(fields["device"]),
                fingerprint=str(fields["fingerprint"]),
                batch=_integer(fields["batch"]),
                example=tuple(_integer(size) for size in _list(fields["example"])),
                measurements=tuple(
                    _measurement(entry) for entry in _list(fields["measurements"])
                ),
                model=_model(fields["model"]),
                error=_error(fields["error"]),
                kind=_kind(fields),
                given=bool(fields["given"]),
            )
        except (RunError, OSError, KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"{path} is not a latency profile ({type(error).__name__}: {error}); "
                "`nas bench latency` writes one"
            ) from error

    def require(
        self, *, fingerprint: str, batch: int, example: tuple[int, ...]
    ) -> None:
        """Makes sure that the profile prices this space and input.

        Raises:
            UsageError: If it was made for another.
        """
        mine = (self.fingerprint, self.batch, self.example)
        if mine != (fingerprint, batch, example):
            raise UsageError(
                f"the latency profile is of space {self.fingerprint} with an input of "
                f"{in_words(self.batch, self.example)}, this run has space "
                f"{fingerprint} with an input of {in_words(batch, example)}; make one "
                "with `nas bench latency`"
            )


def _measurement(entry: object) -> Measurement:
    fields = _object(entry)
    role = fields["role"]
    if not _is_role(role):
        raise ValueError(f"role {role!r} is unknown")
    return Measurement(
        genotype=tuple(_integer(gene) for gene in _list(fields["genotype"])),
        role=role,
        latency_ms=_float(fields["latency_ms"]),
        samples_ms=_floats(fields["samples_ms"]),
        drift=_float(fields["drift"]),
    )


def _is_role(role: object) -> TypeGuard[Role]:
    return role in ROLES


def _kind(fields: Mapping[str, object]) -> Kind:
    """Returns the kind; of a profile from before there were several, by its model."""
    known = "measured" if fields["model"] is None else "predicted"
    kind = fields.get("kind", known)
    if not _is_kind(kind):
        raise ValueError(f"kind {kind!r} is unknown; there are {KINDS}")
    return kind


def _is_kind(kind: object) -> TypeGuard[Kind]:
    return kind in KINDS


def _model(entry: object) -> LatencyModel | Roofline | None:
    if entry is None:
        return None
    fields = _object(entry)
    if "flops_per_s" in fields:
        return Roofline(**{name: _float(value) for name, value in fields.items()})
    return LatencyModel(_floats(fields["weights"]))


def _error(entry: object) -> PredictionError | None:
    if entry is None:
        return None
    return PredictionError(**{k: _float(v) for k, v in _object(entry).items()})


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, got {value!r}")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, got {value!r}")
    return value


def _integer(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"expected an integer, got {value!r}")
    return value


def _float(value: object) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"expected a number, got {value!r}")
    return float(value)


def _floats(value: object) -> tuple[float, ...]:
    return tuple(_float(item) for item in _list(value))
