"""Bounds on metrics, and the error for bounds that nothing satisfies."""

import dataclasses
import decimal
import json
import math
import re

import numpy as np
from jaxtyping import Float

from search.space import Architecture

LEGAL = "write for example 'latency_ms <= 5', 'params <= 60%' or 'accuracy >= 0.9'"


@dataclasses.dataclass(frozen=True)
class Bound:
    """A hard limit on one metric.

    >>> str(Bound.parse("latency_ms<=60%").resolve(largest_value=20.0))
    'latency_ms <= 12'

    Attributes:
        metric: Name of the metric.
        limit: Largest legal value (smallest if ``at_least``), finite and positive.
        percent: Whether the limit is a percentage of the largest subnet's value.
        at_least: Whether the metric must reach the limit rather than stay below it.

    Raises:
        ValueError: If the name is not an identifier or the limit is out of range.
    """

    metric: str
    limit: float
    percent: bool = False
    at_least: bool = False

    def __post_init__(self) -> None:
        if not self.metric.isidentifier():
            raise ValueError(f"a bound on {self.metric!r}: not a metric name; {LEGAL}")
        if not (math.isfinite(self.limit) and self.limit > 0):
            raise ValueError(
                f"the limit of {self.metric!r} is {self.limit}; it must be finite and "
                f"greater than 0; {LEGAL}"
            )

    @classmethod
    def parse(cls, text: str) -> "Bound":
        """Reads ``metric <= number``, ``>=`` for a lower limit, ``%`` for percent.

        Raises:
            ValueError: If the text is anything else, saying what is legal.
        """
        if not text.strip():
            raise ValueError(f"empty constraint; {LEGAL}")
        match = re.fullmatch(r"([^<>=!]*)([<>=!]+)([^<>=!]*)", text.strip())
        if match is None:
            raise ValueError(f"constraint {text!r} has no single '<=' or '>='; {LEGAL}")
        metric, operator, number = (part.strip() for part in match.groups())
        if operator not in ("<=", ">="):
            raise ValueError(
                f"constraint {text!r} has unknown operator {operator!r}; {LEGAL}"
            )
        percent = number.endswith("%")
        number = number.removesuffix("%").strip()
        if not number:
            raise ValueError(f"constraint {text!r} has no number; {LEGAL}")
        try:
            limit = float(number)
        except ValueError:
            raise ValueError(
                f"constraint {text!r}: {number!r} is not a number; {LEGAL}"
            ) from None
        return cls(metric, limit, percent, operator == ">=")

    def __str__(self) -> str:
        number = repr(float(self.limit)).removesuffix(".0")
        sign = ">=" if self.at_least else "<="
        return f"{self.metric} {sign} {number}{'%' if self.percent else ''}"

    def resolve(self, largest_value: float) -> "Bound":
        """Returns the absolute bound, given the metric of the largest subnet.

        Raises:
            ValueError: If a percentage of that value is not a legal limit.
        """
        if not self.percent:
            return self
        if not (math.isfinite(largest_value) and largest_value > 0):
            raise ValueError(
                f"{str(self)!r} needs the largest subnet's {self.metric} to be finite "
                f"and greater than 0, got {largest_value}"
            )
        limit = self.limit / 100 * largest_value
        return Bound(self.metric, limit, at_least=self.at_least)

    def excess(
        self, values: Float[np.ndarray, " population"]
    ) -> Float[np.ndarray, " population"]:
        """Returns how far values miss the limit, relative to it; 0 where they do not.

        NaN is infinitely far.

        Raises:
            ValueError: If the bound is a percentage that was not resolved.
        """
        if self.percent:
            raise ValueError(f"{str(self)!r} is relative; resolve it first")
        missing = self.limit - values if self.at_least else values - self.limit
        relative = np.maximum(missing / self.limit, 0.0)
        return np.where(np.isnan(values), np.inf, relative)


class InfeasibleError(RuntimeError):
    """No architecture satisfies the bounds.

    Attributes:
        bound: The tightest bound.
        nearest: The architecture that misses the bounds by least.
        value: Its value of the bounded metric.
    """

    def __init__(self, bound: Bound, nearest: Architecture, value: float) -> None:
        super().__init__(_message(bound, nearest, value))
        self.bound = bound
        self.nearest = nearest
        self.value = value

    def __reduce__(
        self,
    ) -> tuple[type["InfeasibleError"], tuple[Bound, Architecture, float]]:
        return InfeasibleError, (self.bound, self.nearest, self.value)


def _message(bound: Bound, nearest: Architecture, value: float) -> str:
    # Rounded away from the limit, so that following the advice is enough.
    rounding = decimal.ROUND_FLOOR if bound.at_least else decimal.ROUND_CEILING
    context = decimal.Context(prec=6, rounding=rounding)
    enough = f"{float(context.create_decimal_from_float(value)):.6g}"
    advice = (
        "lower the limit to at most"
        if bound.at_least
        else "raise the limit to at least"
    )
    return (
        f"no architecture satisfies {str(bound)!r}: the nearest, "
        f"{json.dumps(nearest.to_json())}, has {bound.metric} {value:.6g}; "
        f"{advice} {enough}"
    )
