"""What a report shows: plain frozen data, filled by the job, drawn by the page.

Nothing here knows how the numbers came about or how they are drawn, so a report can be
made again from stored values alone.
"""

import dataclasses
from collections.abc import Mapping
from typing import Literal, NamedTuple

Number = int | float
Label = Literal["smallest", "middle", "largest"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Axis:
    """One elastic dimension of the space.

    Attributes:
        name: What the dimension is called, such as ``ffn``.
        values: Its values, ascending.
        scope: ``global``, ``per layer``, or the rule of depth, such as ``prefix``.
    """

    name: str
    values: tuple[object, ...]
    scope: str


class Landmark(NamedTuple):
    """Where a landmark of the space lies in the plane of first cost and first score.

    Attributes:
        cost: Of the first metric of `ReportData.costs`.
        score: The first that is shown, on the search data.
        measured: Whether its latency was measured.
    """

    cost: Number
    score: Number
    measured: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Extreme:
    """A landmark of the space: its smallest, middle or largest subnet.

    Attributes:
        label: Which of the three.
        arch: The architecture as JSON.
        params: Number of parameters.
        macs: Multiply-accumulates of one inference.
        memory_mb: Size of the weights, in MB.
        id: Identifier of the architecture.
        known: Its first cost and first score; without them it is not compared with.
    """

    label: Label
    arch: Mapping[str, object]
    params: int
    macs: int
    memory_mb: Number
    id: str = ""
    known: Landmark | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Campaign:
    """The history of one search.

    Attributes:
        name: What the campaign is called, unique within a report.
        algorithm: The algorithm's name; ``random`` in it marks the baseline.
        evaluations: Subnets evaluated so far, ascending.
        hypervolume: Hypervolume reached at each of those counts.

    Raises:
        ValueError: If the two histories differ in length.
    """

    name: str
    algorithm: str
    evaluations: tuple[int, ...]
    hypervolume: tuple[Number, ...]

    def __post_init__(self) -> None:
        _same_length(
            f"campaign {self.name!r}",
            evaluations=self.evaluations,
            hypervolume=self.hypervolume,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluated:
    """One subnet that a search looked at.

    Attributes:
        cost: Of the first metric of `ReportData.costs`; latencies are predicted.
        score: The first score that is shown, on the search data.
        campaign: Name of the campaign that evaluated it first.
        id: Identifier of the architecture.
        algorithm: The campaign's, where several campaigns may share one.
    """

    cost: Number
    score: Number
    campaign: str
    id: str
    algorithm: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatencySample:
    """One measured subnet and what the latency model says of it.

    Attributes:
        id: Identifier of the architecture.
        measured_ms: Measured latency, in ms.
        predicted_ms: Predicted latency, in ms.
        held_out: Whether the fit did not see this sample.
    """

    id: str
    measured_ms: Number
    predicted_ms: Number
    held_out: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatencyError:
    """How far the latency model is from measurements that its fit did not see.

    Attributes:
        mape_percent: Mean absolute error in percent of the measured latency, over the
            held-out samples where there are any.
        within_10_percent: Share of the same samples predicted within 10 %, in percent.
        kendall_tau: Rank correlation over the same samples, from -1 to 1.
    """

    mape_percent: Number
    within_10_percent: Number
    kendall_tau: Number


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatencyFit:
    """The latency model and its stated error.

    Attributes:
        device: The device that was measured.
        inputs: What was run, such as ``1 x 128 tokens, float32``.
        samples: Measured subnets with their predictions.
        error: Of the model on held-out samples; ``None`` where there are none.
        source: ``measured here`` or ``given to the run``.
        kind: What latencies rest on: ``measured`` (every member), ``predicted``,
            ``table`` (imported) or ``roofline`` (the device's sheet, not measured).
    """

    device: str
    inputs: str
    samples: tuple[LatencySample, ...]
    error: LatencyError | None
    source: str
    kind: Literal["measured", "predicted", "table", "roofline"] = "predicted"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictorScore:
    """How one predictor did on architectures that it had not learnt from.

    Attributes:
        name: What it is called; of a metric that stands for itself, the metric's name.
        sees: What it learns from, such as ``genes``; empty where nothing is learnt.
        kendall_tau: Rank correlation with the score, from -1 to 1; ``None`` where all
            predictions, or all values, are the same.
        top_regret: What is lost by evaluating only the predicted best, in the score's
            unit.
        mean_error: Mean absolute error, in the score's unit; ``None`` of a mere order.
        predicted: Its predictions, in the order of `PredictorTest.values`.
    """

    name: str
    sees: str
    kendall_tau: Number | None
    top_regret: Number
    mean_error: Number | None = None
    predicted: tuple[Number, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictorTest:
    """What predictors that learnt from one half of an archive know of the other.

    Attributes:
        score: The score that is predicted, such as ``loss``.
        architectures: How many were looked at.
        needed: How many there must be; with fewer nothing is tested.
        learnt_from: How many of them were learnt from.
        top: How many predicted best the regret is of.
        values: True scores of those that were not learnt from.
        scores: Of every predictor; empty where nothing was tested.
    """

    score: str
    architectures: int
    needed: int
    learnt_from: int
    top: int = 0
    values: tuple[Number, ...] = ()
    scores: tuple[PredictorScore, ...] = ()

    @property
    def best(self) -> PredictorScore | None:
        """The predictor whose order is best, of those that learn."""
        learnt = [s for s in self.scores if s.predicted and s.kendall_tau is not None]
        return max(learnt, key=lambda s: s.kendall_tau or 0.0, default=None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Member:
    """One subnet of the verified front.

    Attributes:
        id: Identifier of the architecture.
        arch: The architecture as JSON.
        metrics: Scores as ``loss`` or ``error_TASK``, on test data as ``test_loss``;
            ``latency_ms`` (measured), ``params``, ``macs``, ``flops``, ``memory_mb``;
            a missing one is shown as a dash.
        predicted: What the predictors said of the same metrics.
        why: Why it was chosen, in words.
        path: Where it lies, relative to the run directory.
        files: Names of the files there.
        verification: What was checked after the export, in words.
        weights: After fine-tuning, which were exported: ``inherited`` or ``finetuned``.
    """

    id: str
    arch: Mapping[str, object]
    metrics: Mapping[str, Number]
    predicted: Mapping[str, Number]
    why: str
    path: str
    files: tuple[str, ...]
    verification: str
    weights: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """A value over training steps.

    Attributes:
        label: What the line is called.
        steps: Step numbers, ascending.
        values: The value at each step.
        cost: What the subnet costs, in multiply-accumulates of one input, where the
            line is one subnet's; positive. Lines with costs are coloured by them.

    Raises:
        ValueError: If steps and values differ in length.
    """

    label: str
    steps: tuple[int, ...]
    values: tuple[Number, ...]
    cost: Number | None = None

    def __post_init__(self) -> None:
        _same_length(f"curve {self.label!r}", steps=self.steps, values=self.values)


class PhaseMark(NamedTuple):
    """Where a phase of the training begins.

    Attributes:
        step: Steps done before it.
        text: Its policy and what it opens.
    """

    step: int
    text: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportData:
    """Everything a report shows. Empty parts are left out of the page.

    Attributes:
        title: The heading of the page.
        command: The command line that made the run.
        created: When, as ISO 8601 text.
        facts: Provenance in display order: device, versions, seed, revision, duration.
        space_size: How many architectures the space holds, in words or digits.
        axes: The elastic dimensions.
        extremes: The landmarks of the space.
        constraints: The bounds of the search, such as ``latency_ms <= 2.31``.
        costs: The metrics that subnets are shown by beside scores, such as
            ``latency_ms`` or ``size_mb``; the front is drawn against the first.
        bound: The upper bound on the first cost, where there is one.
        loss_name: What the loss is called.
        loss_unit: Its unit; may be empty.
        shown: The scores that subnets are shown by, such as ``loss`` or ``error``; the
            front is drawn by the first.
        training: Training loss by role (largest, smallest, sampled).
        validation: Validation loss by subnet, by ascending cost.
        phases: The phases of the training, in order; empty where there is but one.
        campaigns: The searches.
        archive: Every subnet that was evaluated.
        front: The verified front, by ascending first cost.
        latency: The latency model.
        devices: Those of further devices.
        further: Name, title and unit of metrics beyond the usual ones.
        predictors: How well scores can be predicted.
        stages: ``(name, seconds)`` of every stage, in the order they ran.
        load_snippet: Python that loads the first subnet.
        warnings: What the reader must know before trusting the numbers.
    """

    title: str
    command: str
    created: str
    facts: Mapping[str, str]
    space_size: str
    axes: tuple[Axis, ...] = ()
    extremes: tuple[Extreme, ...] = ()
    constraints: tuple[str, ...] = ()
    costs: tuple[str, ...] = ("latency_ms",)
    bound: Number | None = None
    loss_name: str = "Loss"
    loss_unit: str = ""
    shown: tuple[str, ...] = ("loss",)
    training: tuple[Curve, ...] = ()
    validation: tuple[Curve, ...] = ()
    phases: tuple[PhaseMark, ...] = ()
    campaigns: tuple[Campaign, ...] = ()
    archive: tuple[Evaluated, ...] = ()
    front: tuple[Member, ...] = ()
    latency: LatencyFit | None = None
    devices: tuple[LatencyFit, ...] = ()
    further: tuple[tuple[str, str, str], ...] = ()
    predictors: PredictorTest | None = None
    stages: tuple[tuple[str, Number], ...] = ()
    load_snippet: str = ""
    warnings: tuple[str, ...] = ()

    def landmark(self, label: Label) -> Landmark | None:
        """Returns where an extreme of the space lies, or None if nobody knows."""
        for extreme in self.extremes:
            if extreme.label == label and extreme.known is not None:
                return extreme.known
        return None


def _same_length(what: str, **parts: tuple[Number, ...]) -> None:
    (first, one), (second, other) = parts.items()
    if len(one) != len(other):
        raise ValueError(
            f"{what} has {len(one)} {first} but {len(other)} {second}; "
            "give one of each per point"
        )
