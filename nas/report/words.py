"""Numbers, architectures and results written for people."""

import datetime
import itertools
import math
import re
from collections.abc import Mapping, Sequence

from kernels.quantization.scheme import FLOAT_WIDTH
from nas.front import NOTABLE_MISS
from nas.metric_names import LATENCY
from nas.report.costs import Cost, Unit, cost_of
from nas.report.data import Landmark, LatencyFit, Member, Number, ReportData
from supernets.quantization.precision import WEIGHT_BITS

MISSING = "\u2013"
"""Stands for a number that nobody knows."""

TIMES = "\u00d7"

SCALES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
MAX_DECIMALS = 3
TIES = re.compile(
    rf"(?<=\d) (?=to \d|ms|[kMG]B|%|{TIMES})|(?<=\d to) (?=\d)| (?=[≤≥])|(?<=[≤≥]) "
)
LARGE = re.compile(r"\b\d(\.\d+)?e\+\d+")
BOUND = re.compile(
    r"\s*(?P<metric>\w+)\s*(?P<sign><=|>=)\s*"
    r"(?P<limit>(\d+\.?\d*|\.\d+)(e[+-]?\d+)?)\s*(\(|$)"
)


def significant(value: Number, digits: int = 3) -> str:
    """Writes a number with ``digits`` significant digits or its whole part.

    Below one, zeros at the end are dropped down to two decimals.

    >>> significant(0.6204), significant(2.409), significant(12345)
    ('0.62', '2.41', '12,345')
    """
    if not math.isfinite(value):
        return MISSING
    if value == 0 or abs(value) < 1e-6:
        return "0"
    rounded = float(f"{value:.{digits - 1}e}")
    decimals = max(digits - 1 - math.floor(math.log10(abs(rounded))), 0)
    text = f"{value:,.{decimals}f}"
    while decimals > 2 and text.endswith("0"):
        text, decimals = text[:-1], decimals - 1
    return text


def count(value: Number) -> str:
    """Writes a large count with a letter for its thousands.

    >>> count(1_048_576), count(134e6), count(870)
    ('1.05 M', '134 M', '870')
    """
    if not math.isfinite(value):
        return MISSING
    for scale, letter in SCALES:
        if float(f"{value:.2e}") >= scale:
            return f"{significant(value / scale)} {letter}"
    return f"{value:.0f}"


def column(
    values: Sequence[Number | None], *, like: Sequence[Number | None] | None = None
) -> list[str]:
    """Writes one column: two decimals, or three to keep values apart.

    >>> column([2.411, 2.409, 2.5])
    ['2.411', '2.409', '2.500']

    Args:
        values: The numbers; unknown ones become a dash.
        like: Another column whose decimals to use.
    """
    known = [v for v in like or values if v is not None and math.isfinite(v)]
    for decimals in range(2, MAX_DECIMALS + 1):
        if len({f"{v:.{decimals}f}" for v in known}) == len(set(known)):
            break
    return [
        MISSING if v is None or not math.isfinite(v) else f"{v:,.{decimals}f}"
        for v in values
    ]


def miss(said: Number | None, measured: Number | None) -> str:
    """Says how far a prediction was off, if by more than `NOTABLE_MISS`.

    >>> miss(1.2, 1.0), miss(1.05, 1.0)
    ('20 % off', '')
    """
    if said is None or measured is None or not measured > 0:
        return ""
    share = abs(said / measured - 1)
    return f"{100 * share:.0f} % off" if share > NOTABLE_MISS else ""


def basis(fit: LatencyFit, *, drawn: bool) -> str:
    """Says what latencies rest on, and how far they can be relied on.

    Args:
        fit: Of a device.
        drawn: Whether a figure tells the error already.
    """
    found = fit.error
    if fit.kind == "roofline":
        return "Roofline of the device's sheet, not measured: the error is not known."
    if fit.kind == "measured":
        return "Every member was measured, none predicted."
    if found is None:
        return "An imported table; no other subnet has a latency."
    by = "an imported table" if fit.kind == "table" else "measurements"
    said = f"Predicted by a model that was fitted to {by}"
    if drawn:
        return f"{said}."
    return (
        f"{said}; held out: mean error {significant(found.mape_percent, 2)} %, "
        f"within 10 %: {significant(found.within_10_percent)} %, "
        f"Kendall τ {found.kendall_tau:.2f}."
    )


def shorten(text: str, most: int = 24) -> str:
    """Cuts a label that would leave a figure no room.

    >>> shorten("evolution with restarts", 12)
    'evolution w…'
    """
    return text if len(text) <= most else f"{text[: most - 1]}\u2026"


def duration(seconds: Number) -> str:
    """Writes a duration in its two largest units.

    >>> duration(0.42), duration(84), duration(3840)
    ('0.42 s', '1 min 24 s', '1 h 04 min')
    """
    if seconds < 59.5:
        return f"{significant(seconds, 2)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02d} min"


def constraint(text: str) -> str:
    """Writes a bound as people read it: ``<=`` becomes ≤.

    >>> constraint("bops <= 5.436e+09")
    'bops ≤ 5.44 G'
    """
    text = LARGE.sub(lambda match: count(float(match[0])), text)
    return text.replace("<=", "≤").replace(">=", "≥")


def runs(values: Sequence[object]) -> str:
    """Writes values in order, repeated ones once.

    >>> runs([768, 768, 512, 256]) == f"768 {TIMES}2, 512, 256"
    True
    """
    grouped = [(v, len(list(same))) for v, same in itertools.groupby(values)]
    return ", ".join(f"{v} {TIMES}{n}" if n > 1 else f"{v}" for v, n in grouped)


def architecture(arch: Mapping[str, object]) -> list[tuple[str, str]]:
    """Returns ``(name, value)`` pairs that describe an architecture.

    >>> architecture({"layers": [0, 2], "width": 96, "ffn": [256, 512]})
    [('layers', '2 (0, 2)'), ('width', '96'), ('ffn', '256, 512')]
    """
    pairs = []
    for name, value in arch.items():
        if name == "layers" and isinstance(value, (list, tuple)):
            prefix = list(value) == list(range(len(value)))
            which = "" if prefix else f" ({', '.join(str(v) for v in value)})"
            pairs.append((name, f"{len(value)}{which}"))
        elif isinstance(value, (list, tuple)):
            pairs.append((name, runs(value)))
        else:
            pairs.append((name, str(value)))
    return pairs


def score(data: ReportData, metric: str) -> tuple[str, str]:
    """Returns what a score is called, such as ``Error of digit``, and its unit.

    Args:
        data: The report.
        metric: Name of the score, as ``error_digit``.
    """
    if metric == "adversarial_error":
        return "Adversarial error", ""
    kind, _, task = metric.partition("_")
    names = {"loss": (data.loss_name, data.loss_unit)}
    name, unit = names.get(kind, (kind.capitalize(), ""))
    return f"{name} of {task}" if task else name, unit


def cost(data: ReportData) -> tuple[Cost, Unit]:
    """Returns what the front is drawn against, and the unit that tells it best."""
    first = cost_of(data.costs[0])
    front = [member.metrics.get(data.costs[0]) for member in data.front]
    return first, first.unit(front or [point.cost for point in data.archive])


def named(axis: str) -> str:
    """Writes the name of an elastic dimension.

    >>> named("weight_bits"), named("ffn")
    ('weight bits', 'ffn')
    """
    return axis.replace("_", " ")


def quantity(data: ReportData, metric: str = "loss") -> str:
    """Returns the axis label of a score: its name and its unit."""
    name, unit = (shorten(text) for text in score(data, metric))
    return f"{name} ({unit})" if unit else name


def result(data: ReportData) -> str:
    """Says in one sentence what the run found.

    Scores are those of the search, which the figure of the front shows too.
    """
    if not data.front:
        bounds = _listed(data)
        reason = f" that satisfies {bounds}" if bounds else ""
        return f"The search found no subnet{reason}."
    members = len(data.front)
    drawn, unit = cost(data)
    costs = [m.metrics.get(data.costs[0]) for m in data.front]
    spent = _span([v and v / unit.size for v in costs])
    first = _span([m.metrics.get(data.shown[0]) for m in data.front])
    if members == 1:
        return (
            f"One subnet: {spent} {drawn.of(unit)} at {first} "
            f"{_unit(data)}{_bounds(data)}."
        )
    return (
        f"{members} subnets from {spent} {drawn.of(unit)} and from {first} "
        f"{_unit(data)}{_bounds(data)}."
    )


def detail(data: ReportData) -> str:
    """Says how the front does on test data and against the largest network.

    Where layers choose their bits, it says how many they have.
    """
    sentences = [_comparison(data)]
    tested = [m.metrics.get(f"test_{data.shown[0]}") for m in data.front]
    if data.front and None not in tested:
        sentences.append(f"On test data: {_span(tested)} {_unit(data)}.")
    sentences.append(_precision(data))
    return " ".join(sentence for sentence in sentences if sentence)


def tied(text: str) -> str:
    r"""Keeps ranges, bounds and units on one line, by no-break spaces.

    >>> tied("from 0.62 to 2.24 ms") == "from 0.62\xa0to\xa02.24\xa0ms"
    True
    """
    return TIES.sub("\xa0", text)


def moment(created: str) -> str:
    """Writes an ISO 8601 time without its seconds; other text stays as it is.

    >>> moment("2026-11-15T14:32:08+00:00")
    '2026-11-15 14:32 UTC'
    """
    try:
        time = datetime.datetime.fromisoformat(created)
    except ValueError:
        return created
    zone = f" {time:%Z}" if time.tzinfo else ""
    return f"{time:%Y-%m-%d %H:%M}{zone}"


def _unit(data: ReportData) -> str:
    name, unit = score(data, data.shown[0])
    return unit or name.lower()


def _span(values: Sequence[Number | None]) -> str:
    known = [v for v in values if v is not None and math.isfinite(v)]
    if not known:
        return MISSING
    first, last = known[0], known[-1]
    if 0.1 < abs(first / last) < 10 if last else False:
        # One precision for both ends reads better than three digits for each.
        decimals = len(significant(max(first, last)).partition(".")[2])
        texts = [f"{end:,.{decimals}f}" for end in (first, last)]
    else:
        texts = [significant(end) for end in (first, last)]
    return texts[0] if texts[0] == texts[1] else " to ".join(texts)


def _listed(data: ReportData) -> str:
    """Lists the constraints, without remarks in parentheses."""
    return " and ".join(constraint(c.split(" (")[0]) for c in data.constraints)


def _bounds(data: ReportData) -> str:
    """Says how many members satisfy the constraints by their final metrics."""
    if not data.constraints:
        return ""
    listed = _listed(data)
    verdicts = [[_holds(c, m.metrics) for c in data.constraints] for m in data.front]
    if any(None in row for row in verdicts):
        return f", searched under {listed}"
    members, kept = len(verdicts), sum(all(row) for row in verdicts)
    if kept == members:
        return f"; all within {listed}" if members > 1 else f", within {listed}"
    return (
        f"; {kept} of {members} within {listed}" if members > 1 else f", not {listed}"
    )


def _holds(bound: str, metrics: Mapping[str, Number]) -> bool | None:
    """Checks ``metric <= number``; None where the bound or the metric is unknown."""
    match = BOUND.match(bound)
    if match is None or match["metric"] not in metrics:
        return None
    value, limit = metrics[match["metric"]], float(match["limit"])
    return value <= limit if match["sign"] == "<=" else value >= limit


def _comparison(data: ReportData) -> str:
    """Compares the best member with the largest network, both on the search data."""
    largest, first = data.landmark("largest"), data.shown[0]
    known = [m for m in data.front if {first, data.costs[0]} <= m.metrics.keys()]
    if largest is None or not known or largest.score <= 0:
        return ""
    best = min(known, key=lambda member: member.metrics[first])
    if any(e.id == best.id for e in data.extremes if e.label == "largest"):
        return "The best of them is the largest network itself."
    share = 100 * (best.metrics[first] / largest.score - 1)
    name = score(data, first)[0].lower()
    if abs(share) < 0.05:
        compared = f"has the same {name} as the largest network"
    else:
        more = "more" if share > 0 else "less"
        compared = (
            f"has {significant(abs(share), 2)} % {more} {name} than the largest network"
        )
    subject = "The best of them" if len(data.front) > 1 else "It"
    return f"{subject} {compared}{_spared(data, largest, best)}."


def _spared(data: ReportData, largest: Landmark, best: Member) -> str:
    """Compares the cost of a member with that of the largest network."""
    mine, metric = best.metrics[data.costs[0]], data.costs[0]
    if metric == LATENCY:
        basis = "" if largest.measured else " (predicted)"
        return f" and is {significant(largest.cost / mine, 2)} times as fast{basis}"
    if not largest.cost > 0 or mine < 0:
        return ""
    share = significant(100 * mine / largest.cost, 2)
    return f" at {share} % of its {cost_of(metric).word}"


def _precision(data: ReportData) -> str:
    """Says how many bits weights have, and how files hold them."""
    known = [m.metrics["mean_bits"] for m in data.front if "mean_bits" in m.metrics]
    chosen = [member.arch.get(WEIGHT_BITS) for member in data.front]
    taken = {b for bits in chosen if isinstance(bits, (list, tuple)) for b in bits}
    if not known or not taken:
        return ""
    ends = [f"{bits:.3g}" for bits in (min(known), max(known))]
    mean = ends[0] if ends[0] == ends[1] else " to ".join(ends)
    told = f"Weights of the layers have {mean} bits on average"
    if min(taken) >= FLOAT_WIDTH:
        return f"{told}."
    floats = ", those of 16 bits as bfloat16" if FLOAT_WIDTH in taken else ""
    return f"{told}; files hold them as packed integers with their scales{floats}."
