"""Other runs that a training needs, checked before anything is spent."""

from pathlib import Path

from nas.errors import UsageError
from nas.experiment import Experiment
from nas.rundir import RunDirectory
from supernets.losses.feature_distillation import FeatureDistillation


def check_sources(experiment: Experiment) -> None:
    """Makes sure that what training starts from and who teaches are there.

    Raises:
        UsageError: If a run is missing or has not been trained, if subnets are to learn
            from a frozen teacher and there is none, or if nobody learns from it.
    """
    train, space = experiment.train, experiment.model.space()
    for field in ("start", "teacher"):
        if path := getattr(train, field):
            _check_trained(field, RunDirectory(Path(path)))
    learners = [
        number
        for number, phase in enumerate(train.phases, start=1)
        if any(slot.teacher == "frozen" for slot in phase.slots(space))
    ]
    if learners and not train.teacher:
        raise UsageError(
            f"subnets of phase {learners[0]} learn from a frozen teacher, and there is "
            "none; give the directory of a trained run as --train.teacher"
        )
    _check_features(experiment)
    if train.teacher and not learners:
        raise UsageError(
            f"train.teacher is {train.teacher}, but nobody learns from it; set "
            'teacher="frozen" in the policy of a phase, or leave train.teacher out'
        )


def _check_features(experiment: Experiment) -> None:
    """Refuses features of a frozen teacher whose channels are in another order."""
    space = experiment.model.space()
    shared = {choice.name for choice in space.choices if not choice.per_layer}
    names: list[str] = []
    for number, phase in enumerate(experiment.train.phases, start=1):
        names += [name for name in phase.sort if name in shared]
        compared = any(
            slot.teacher == "frozen"
            and isinstance(phase.losses.of(slot), FeatureDistillation)
            for slot in phase.slots(space)
        )
        if names and compared:
            raise UsageError(
                f"phase {number} learns features of a frozen teacher, but {names[0]} "
                "is sorted by then, and the teacher's channels are not; leave it out "
                "of sort, or learn by another loss than FeatureDistillation"
            )


def _check_trained(field: str, run: RunDirectory) -> None:
    if not run.config.exists():
        raise UsageError(
            f"train.{field} is {run.path}, which is not a run directory: it has no "
            "config.json"
        )
    if not run.supernet.exists():
        raise UsageError(
            f"train.{field} is {run.path}, which has no trained supernet yet: run "
            "`nas train` there first"
        )
