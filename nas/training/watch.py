"""Watches the panel while the supernet trains: validates, logs, raises the alarm."""

import math

from nas.data.dataset import Classes, in_units
from nas.experiment import Experiment
from nas.metrics import LANDMARKS
from nas.panel import Panel
from nas.report import words
from nas.stages.context import Context
from nas.training.collapse import Collapse, CollapseAlarm
from nas.training.log import TrainingLog
from nas.training.phases import trained
from search.space import Architecture
from supernets.evaluation import Evaluate
from supernets.phases import Plan
from supernets.weights import Params


class Watch:
    """Validates a panel of subnets and compares them with their own past.

    Args:
        context: Of the run.
        panel: The subnets.
        plan: Says which of them are being trained.
        evaluate: Scores them.
        log: Where scores and alarms go.
    """

    def __init__(
        self,
        context: Context,
        panel: Panel,
        plan: Plan,
        evaluate: Evaluate,
        log: TrainingLog,
    ) -> None:
        self.context, self.panel, self.plan = context, panel, plan
        self.evaluate, self.log = evaluate, log
        self.alarm = CollapseAlarm(guessing_loss(context.experiment))

    def resume(self) -> None:
        """Takes what was logged before, so that the alarm knows it."""
        for step, losses in self.log.entries("validation"):
            self._observe(step, losses)

    def validate(self, step: int, params: Params) -> float:
        """Scores the panel after a step, and says so if one of it has collapsed.

        Returns:
            The mean loss of the panel.
        """
        experiment, panel = self.context.experiment, self.panel
        data = experiment.data
        inputs, targets = data.fixed("search", experiment.search.examples)
        found = self.evaluate(params, panel.genotypes, inputs, targets)
        scores = {
            name: dict(zip(panel.labels, values.tolist(), strict=True))
            for name, values in in_units(data, found).items()
        }
        self.log.validation(step, scores)
        for collapse in self._observe(step, scores["loss"]):
            arch = self._arch(collapse.label)
            self.log.collapse(collapse, arch)
            self.context.warn(collapse_in_words(collapse, arch, data.loss_unit))
        return sum(scores["loss"].values()) / len(panel.labels)

    def _observe(self, step: int, losses: dict[str, float]) -> list[Collapse]:
        phase = self.plan.phases[self.plan.phase_of(max(step - 1, 0))]
        open_ = trained(phase, self.plan.whole, self.panel.genotypes)
        labels = [
            label for label, is_ in zip(self.panel.labels, open_, strict=True) if is_
        ]
        # Sorting gives smaller subnets other channels, except those trained before.
        sorted_next = step == 0 and phase.sort
        return self.alarm.observe(step, losses, [] if sorted_next else labels)

    def _arch(self, label: str) -> Architecture:
        row = self.panel.labels.index(label)
        return self.plan.whole.decode(self.panel.genotypes[row])


def guessing_loss(experiment: Experiment) -> float:
    """Returns the loss of a uniform guess, summed over tasks, in the unit of the data.

    Args:
        experiment: Whose data it is of.
    """
    classes: Classes = experiment.data.classes
    counts = [classes] if isinstance(classes, int) else classes.values()
    return sum(math.log(count) for count in counts) / experiment.data.nats_per_unit


def collapse_in_words(collapse: Collapse, arch: Architecture, unit: str) -> str:
    """Says which subnet has collapsed, and how far.

    Args:
        collapse: What the alarm said.
        arch: Of the subnet.
        unit: Of losses.
    """
    label = collapse.label
    name = f"the {label} subnet" if label in LANDMARKS else f"the subnet of {label}"
    described = ", ".join(
        f"{part} {value}" for part, value in words.architecture(arch.to_json())
    )
    return (
        f"{name} ({described}) is losing what it had learnt while others keep it: "
        f"validation loss {collapse.loss:.3g} {unit} at step {collapse.step}, "
        f"{collapse.best:.3g} at step {collapse.best_step}"
    )
