"""What the metrics that are known without an evaluation are called, and their units."""

import dataclasses
import math
from collections.abc import Iterable
from typing import NamedTuple

from nas.metric_names import LATENCY, device_of


class Unit(NamedTuple):
    """What numbers are told in.

    Attributes:
        size: How much of the metric it is.
        name: As it is written after numbers; may be empty.
    """

    size: float
    name: str


COUNTS = (
    *(Unit(1e12, "T"), Unit(1e9, "G"), Unit(1e6, "M"), Unit(1e3, "k")),
    Unit(1.0, ""),
)

MEGABYTES = (Unit(1e3, "GB"), Unit(1.0, "MB"), Unit(1e-3, "kB"))

MILLISECONDS = (Unit(1.0, "ms"),)

PART = 0.1
"""Of a unit of memory, what is still told in it: 0.25 MB is not 250 kB."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """A metric in words.

    Attributes:
        word: What it is called within a sentence, as "bit operations".
        quantity: What it is called along an axis, without the unit.
        least: What the subnet with the least of it is, as "fastest".
        units: What it is told in, the largest first.
        measure: What numbers of it are of within a sentence, beside the unit.
    """

    word: str
    quantity: str
    least: str
    units: tuple[Unit, ...] = (Unit(1.0, ""),)
    measure: str = ""

    @property
    def title(self) -> str:
        """What a column is called."""
        return self.word[0].upper() + self.word[1:] if self.quantity else self.word

    @property
    def counted(self) -> bool:
        """Whether it is a large count."""
        return self.units is COUNTS

    def unit(self, values: Iterable[float | None]) -> Unit:
        """Returns the unit that tells numbers best.

        >>> cost_of("bops").unit([5.4e9, 7.0e9]), cost_of("size_mb").unit([0.02])
        (Unit(size=1000000000.0, name='G'), Unit(size=0.001, name='kB'))
        """
        known = [abs(v) for v in values if v is not None and math.isfinite(v)]
        largest, least = max(known, default=1.0), 1.0 if self.counted else PART
        fitting = (unit for unit in self.units if largest >= least * unit.size)
        return next(fitting, self.units[-1])

    def axis(self, unit: Unit) -> str:
        """Returns the label of an axis.

        >>> cost_of("size_mb").axis(Unit(1.0, "MB"))
        'Size of the stored weights (MB)'
        """
        quantity = self.quantity or self.word
        return f"{quantity} ({unit.name})" if unit.name else quantity

    def of(self, unit: Unit) -> str:
        """Returns what stands after a number within a sentence.

        >>> cost_of("bops").of(Unit(1e9, "G")), cost_of("latency_ms").of(Unit(1, "ms"))
        ('G bit operations', 'ms')
        """
        return f"{unit.name} {self.measure}".strip()


NAMED = {
    LATENCY: Cost(
        word="latency", quantity="Latency", least="fastest", units=MILLISECONDS
    ),
    "params": Cost(
        word="parameters",
        quantity="Parameters",
        least="fewest parameters",
        units=COUNTS,
        measure="parameters",
    ),
    "macs": Cost(
        word="MACs",
        quantity="Multiply-accumulates",
        least="fewest MACs",
        units=COUNTS,
        measure="MACs",
    ),
    "flops": Cost(
        word="FLOPs",
        quantity="Floating-point operations",
        least="fewest FLOPs",
        units=COUNTS,
        measure="FLOPs",
    ),
    "memory_mb": Cost(
        word="memory",
        quantity="Memory of weights, inputs and outputs",
        least="least memory",
        units=MEGABYTES,
    ),
    "size_mb": Cost(
        word="size",
        quantity="Size of the stored weights",
        least="smallest",
        units=MEGABYTES,
    ),
    "traffic_mb": Cost(
        word="traffic",
        quantity="Memory traffic of products",
        least="least traffic",
        units=MEGABYTES,
    ),
    "bops": Cost(
        word="bit operations",
        quantity="Bit operations",
        least="fewest bit operations",
        units=COUNTS,
        measure="bit operations",
    ),
    "mean_bits": Cost(
        word="mean bits",
        quantity="Bits of an average weight of the layers",
        least="fewest bits",
        measure="bits per weight",
    ),
}


def cost_of(metric: str) -> Cost:
    """Returns a metric in words; one of the user's own goes by its name.

    >>> cost_of("latency_ms_phone").word, cost_of("energy_mj").title
    ('latency on phone', 'energy_mj')
    """
    if device := device_of(metric):
        return Cost(
            word=f"latency on {device}",
            quantity=f"Latency on {device}",
            least=f"fastest on {device}",
            units=MILLISECONDS,
        )
    return NAMED.get(
        metric, Cost(word=metric, quantity="", least=f"least {metric}", measure=metric)
    )
