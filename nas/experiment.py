"""The experiment: one frozen value that says everything a run does."""

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Float

from kernels.executions import Execution
from nas.algorithms import SearchSpec
from nas.data import DataSpec, StdlibText
from nas.data.dataset import score_names
from nas.data.reading import Reading
from nas.finetuning import FineTune, Retrain, check_finetuning
from nas.gradient.rules import check_gradient
from nas.metric_names import (
    CHEAP_METRICS,
    device_and_file,
    device_of,
    module_and_function,
)
from nas.training.bits import check_bits
from search.constraints import Bound
from search.fidelity import SuccessiveHalving
from search.nsga2 import Nsga2
from search.random_search import RandomSearch
from search.space import Genotypes, Space
from search.stopping import Stop
from supernets.computing import Compute, Remat
from supernets.decoder.spec import Decoder
from supernets.losses.pgd import Pgd
from supernets.multitask.spec import MultiTask
from supernets.optimizers.adamw import AdamW
from supernets.optimizers.registry import OptimizerSpec
from supernets.phases import Phase, Plan
from supernets.proxies.names import PROXIES, Proxy
from supernets.regularization import Regularization
from supernets.sharding.spec import Parallel
from supernets.vision.spec import VisionTransformer

ModelSpec = Decoder | VisionTransformer | MultiTask
"""Every supernet that a recipe may name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """How the supernet is trained."""

    steps: int = 300
    """Updates, of all phases together."""
    batch: int = 8
    """Examples that each subnet of a step sees; whether the same ones, phases say."""
    phases: tuple[Phase, ...] = (Phase(),)
    """Which subnets are trained when, and on what."""
    start: str = ""
    """Directory of a run whose trained weights training starts from, as for sorting by
    importance; empty starts from random ones."""
    teacher: str = ""
    """Directory of a run whose largest subnet, no longer trained, teaches the subnets
    that their policy gives the teacher "frozen"."""
    regularization: Regularization = Regularization()
    """Noise on the largest subnet."""
    optimizer: OptimizerSpec = AdamW()
    """How their gradient becomes an update."""
    average: float = 0.0
    """Decay of the moving average of the weights, which is then what is validated and
    searched, as 0.9999 in long trainings; 0 uses the weights themselves."""
    accumulate: int = 1
    """Parts that each batch is computed in, one after the other; it divides the batch.
    Takes less memory and gives the same update within rounding."""
    compute: Compute = "float32"
    """Type of activations and matrix products; weights stay float32."""
    remat: Remat = "nothing"
    """What is computed again in the backward pass instead of kept: whole "layers",
    or all but matrix products ("dots")."""
    parallel: Parallel = Parallel()
    """Devices that train together; one trains alone."""
    reading: Reading = Reading()
    """How batches are made ahead of the steps that need them."""
    take: Literal["last", "best"] = "last"
    """Which weights are searched: the last, or those of the checkpoint whose mean
    validation loss over a few fixed subnets was best."""
    validate_every: int = 50
    """Steps between evaluations of a few fixed subnets, from smallest to largest."""
    checkpoint_every: int = 50
    """Steps between checkpoints; a killed run loses at most these."""

    def __post_init__(self) -> None:
        names = ("steps", "batch", "accumulate", "validate_every", "checkpoint_every")
        for name in names:
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be at least 1, got {getattr(self, name)}"
                )
        if self.batch % self.accumulate:
            raise ValueError(
                f"accumulate is {self.accumulate}, which does not divide the batch of "
                f"{self.batch}"
            )
        if not 0.0 <= self.average < 1.0:
            raise ValueError(f"average must lie in 0..1, got {self.average}")
        if self.take == "best" and self.checkpoint_every % self.validate_every:
            raise ValueError(
                f"the best checkpoint is one that was validated: let checkpoint_every, "
                f"{self.checkpoint_every}, be a multiple of validate_every, "
                f"{self.validate_every}"
            )
        if not 1 <= len(self.phases) <= self.steps:
            raise ValueError(
                f"training needs 1 to {self.steps} phases, no more than it has steps, "
                f"got {len(self.phases)}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Latency:
    """How latency is measured on this device, and what model is fitted to it."""

    batch: int = 1
    """Examples in the measured call, of the shape that the data has."""
    fit: int = 20
    """Extracted subnets measured to fit the model."""
    held_out: int = 8
    """Extracted subnets measured to tell the model's error."""
    rounds: int = 150
    """Times each subnet is timed, in shuffled rounds over all of them."""
    devices: tuple[str, ...] = ()
    """Profiles of further devices, as "phone=phone.json", whose latency is then the
    metric "latency_ms_phone"; see `nas bench latency`."""

    def __post_init__(self) -> None:
        names = [device_and_file(device)[0] for device in self.devices]
        if len(set(names)) < len(names):
            raise ValueError(f"devices share a name: {self.devices}")
        if self.batch < 1 or self.rounds < 3:
            raise ValueError("latency needs batch >= 1 and rounds >= 3")
        if self.fit < 2 or self.held_out < 2:
            raise ValueError("latency needs fit >= 2 and held_out >= 2")

    def measures_all(self, space: Space) -> bool:
        """Says whether a space has no more members than are measured.

        Then each is measured and nothing is predicted: there is no model to fit.
        """
        return space.size.value <= self.fit + self.held_out


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """What is searched for, and with what effort."""

    algorithm: SearchSpec = Nsga2()
    """The algorithm that finds subnets."""
    rivals: tuple[SearchSpec, ...] = ()
    """Further algorithms, each given the same evaluations and seeds."""
    baseline: bool = True
    """Also spend the same evaluations on random search, which any search must beat."""
    evaluations: int = 256
    """Subnets evaluated by each campaign."""
    seeds: int = 1
    """Campaigns of each algorithm, from as many seeds; more than one tells how much of
    a difference between algorithms is chance."""
    seed: int | None = None
    """First seed of the campaigns; that of the experiment, if left out."""
    seconds: float | None = None
    """Time after which a campaign ends as well; how far it then came depends on the
    machine."""
    stagnation: int | None = None
    """Generations without more hypervolume after which a campaign ends as well."""
    objectives: tuple[str, ...] = ("loss", "latency_ms")
    """Metrics to minimise: "error" or "loss", of one task as "error_TASK", with an
    adversary "adversarial_error", and what is known without an evaluation:
    "latency_ms", of a named device as "latency_ms_phone", "params", "macs", "flops",
    "size_mb" (of stored weights), "memory_mb", "traffic_mb", "bops", "mean_bits" (of an
    average weight), and `metrics`."""
    metrics: tuple[str, ...] = ()
    """Metrics of your own that need no evaluation, as "mypackage.costs:energy_mj": a
    function of an `Architecture` that returns a number, the metric "energy_mj"."""
    constraints: tuple[str, ...] = ("latency_ms <= 60%",)
    """Bounds such as "latency_ms <= 5"; a percentage is of the largest subnet."""
    adversary: Pgd | None = None
    """Who attacks the inputs of every evaluation, which then tells the adversarial
    error too. It costs about three passes for each of its steps."""
    examples: int = 32
    """Examples of the search split that a subnet is validated and evaluated on; all of
    them if there are fewer."""
    proxies: tuple[Proxy, ...] = ()
    """Zero-cost proxies that are computed with every evaluation, as the metrics
    "proxy_grad_norm", "proxy_synflow" and "proxy_jacobian". The report says how well
    they order subnets, and what predictors gain by them. They take gradients, where an
    evaluation takes none, so no search is guided by them: it would cost more."""
    fidelity: SuccessiveHalving | None = None
    """Evaluate every generation on a share of the examples first, and only the best on
    all; if left out, all on all. Evaluations then count the shares together."""
    candidates: int = 12
    """Subnets of the predicted front that are measured before the front is shown."""
    evaluators: int = 1
    """Long-lived workers that evaluate subnets; one for each accelerator."""
    finetune: FineTune | None = None
    """Further training of each subnet of the front, on its own; none if left out."""
    retrain: Retrain | None = None
    """Training of each subnet of the front from scratch, to compare; none if left
    out."""

    def __post_init__(self) -> None:
        for name in ("evaluations", "seeds", "examples", "candidates", "evaluators"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be at least 1, got {getattr(self, name)}"
                )
        if self.seed is not None and self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        self._check_rivals()
        self._check_proxies()
        self._check_fidelity()
        # Which checks its own numbers.
        _ = self.stop
        if not self.objectives or len(set(self.objectives)) < len(self.objectives):
            raise ValueError(
                f"objectives are {self.objectives}; name at least one metric, and each "
                "only once"
            )
        if len(set(self.own)) < len(self.own):
            raise ValueError(f"metrics share a name: {self.metrics}")
        for bound in self.bounds:
            if bound.percent and not self.knows(bound.metric):
                raise ValueError(
                    f"'{bound}': a percentage works for {CHEAP_METRICS}, which are "
                    f"known before the search; give an absolute {bound.metric}"
                )

    def _check_fidelity(self) -> None:
        if self.fidelity is not None and self.examples % self.fidelity.pieces:
            raise ValueError(
                f"fidelity.fractions are {self.fidelity.fractions}, of "
                f"{self.fidelity.pieces} equal pieces, which do not divide the "
                f"{self.examples} examples"
            )

    def _check_rivals(self) -> None:
        names = [type(a).__name__ for a in (self.algorithm, *self.rivals)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(
                f"algorithm and rivals name {twice[0]} twice; campaigns are told apart "
                "by the name of their algorithm, so name each once"
            )

    def _check_proxies(self) -> None:
        twice = len(set(self.proxies)) < len(self.proxies)
        if twice or set(self.proxies) - set(PROXIES):
            raise ValueError(
                f"proxies are {self.proxies}; name some of {PROXIES}, each only once"
            )

    @property
    def algorithms(self) -> tuple[SearchSpec, ...]:
        """All algorithms that search, the baseline last."""
        named = (self.algorithm, *self.rivals)
        if self.baseline and not any(isinstance(a, RandomSearch) for a in named):
            return (*named, RandomSearch())
        return named

    @property
    def own(self) -> tuple[str, ...]:
        """Names of the metrics of one's own."""
        return tuple(module_and_function(metric)[1] for metric in self.metrics)

    def knows(self, metric: str) -> bool:
        """Says whether a metric is known without an evaluation.

        Any device may have a profile: which ones do is known to the run.
        """
        cheap = (*CHEAP_METRICS, *self.own)
        return metric in cheap or device_of(metric) is not None

    @property
    def stop(self) -> Stop:
        """When a campaign ends."""
        return Stop(
            evaluations=self.evaluations,
            seconds=self.seconds,
            stagnation=self.stagnation,
        )

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """The constraints, parsed."""
        return tuple(Bound.parse(constraint) for constraint in self.constraints)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """A whole run: model, data, training, latency, search.

    Raises:
        ValueError: If the parts do not fit each other.
    """

    model: ModelSpec
    """The supernet and its search space."""
    data: DataSpec = StdlibText()
    """What it is trained and judged on."""
    train: Training = Training()
    """How it is trained."""
    latency: Latency = Latency()
    """How latency is measured."""
    search: Search = Search()
    """What is searched for."""
    execution: Execution = "auto"
    """How sampled subnets run; `nas show` says what auto comes to, and why."""
    seed: int = 0
    """The only source of randomness."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        self.model.check(self.data.example, self.data.classes)
        space = self.model.space()
        for phase in self.train.phases:
            phase.slots(space)
        self._check_size(space)
        self._check_adversary()
        self._check_metrics()
        precision = getattr(self.model, "precision", None)
        if hasattr(self.model, "precision"):
            check_bits(self.train.phases, self.train.regularization, precision)
        check_finetuning(self.search.finetune, self.search.retrain, precision)

    def _check_size(self, space: Space) -> None:
        """Refuses a space that leaves nothing to search or to measure."""
        size = space.size.value
        if size < 2:
            raise ValueError(
                "the space has one member: nothing to search; give some axis of the "
                "model at least two values"
            )
        if self.latency.measures_all(space):
            return
        terms = self.model.latency_terms(space.largest[None]).shape[1]
        if self.latency.fit < terms:
            raise ValueError(
                f"latency.fit is {self.latency.fit}: the latency model of "
                f"{type(self.model).__name__} has {terms} terms and needs as many "
                "measured subnets"
            )

    def _check_metrics(self) -> None:
        """Refuses objectives and constraints on what nothing computes."""
        if clash := set(self.search.own) & set(self.scores):
            raise ValueError(f"search.metrics: {sorted(clash)} are scores; rename them")
        known = (*self.scores, *CHEAP_METRICS, *self.search.own)
        bounded = (bound.metric for bound in self.search.bounds)
        for metric in (*self.search.objectives, *bounded):
            if metric not in known and not self.search.knows(metric):
                raise ValueError(
                    f"nothing computes the metric {metric!r}; there are {known}"
                )
        check_gradient(self.search, self.scores)

    def _check_adversary(self) -> None:
        """Refuses to attack what has no neighbours."""
        real = np.issubdtype(self.data.dtype, np.floating)
        if self.search.adversary is not None and not real:
            raise ValueError(
                "search.adversary changes inputs by small amounts, which needs real "
                f"numbers such as images; {self.data.title} gives {self.data.dtype}"
            )

    @property
    def scores(self) -> tuple[str, ...]:
        """Metrics that take an evaluation on data."""
        attacked = self.search.adversary is not None
        return score_names(self.data.classes, attacked=attacked)

    @property
    def shown(self) -> tuple[str, ...]:
        """The scores that subnets are shown by: those searched for, else the loss."""
        objectives = self.search.objectives
        return tuple(name for name in objectives if name in self.scores) or ("loss",)

    def plan(self) -> Plan:
        """Returns what each training step trains."""
        example = self.data.example

        def cost(genotypes: Genotypes) -> Float[np.ndarray, " population"]:
            return self.model.costs(genotypes, batch=1, example=example)["macs"]

        return Plan(
            phases=self.train.phases,
            steps=self.train.steps,
            whole=self.model.space(),
            cost=cost,
            seed=self.seed,
        )
