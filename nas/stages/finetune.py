"""Stage 5: train each subnet of the front further, alone, and say what that gives."""

import dataclasses
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors.numpy import save_file

from nas.data.dataset import Dataset, in_units
from nas.errors import RunError
from nas.experiment import Experiment
from nas.finetuning import FineTune, Retrain
from nas.front import FINETUNED, RETRAINED, Member, load_front, write_front
from nas.progress import progress
from nas.rundir import read_json, write_json
from nas.stages.context import Context
from nas.stages.verify import test_examples
from nas.supernet import load_supernet
from supernets.finetuning import finetune as train_alone
from supernets.finetuning import score_alone
from supernets.losses.loss import Batch
from supernets.optimizers.adamw import AdamW
from supernets.optimizers.schedules import Cosine
from supernets.weights import flat_weights, host_copy

WEIGHTS, SCORES = "model.safetensors", "scores.json"

FROM_SCRATCH = "retrained"
"""Folder, beside those of subnets that were fine-tuned, of those trained anew."""

ORDER = 1
"""Added to the seed, so that examples come in another order than in training."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Course:
    """What is done with each subnet of a front.

    Attributes:
        title: What it is called.
        field: Its name in a recipe.
        spec: How long and how fast.
        folder: Where each subnet's result goes, by its name.
        network: The network that is trained.
    """

    title: str
    field: str
    spec: FineTune | Retrain
    folder: Path
    network: Callable[[Member], nnx.Module]


def finetune(context: Context) -> None:
    """Fine-tunes and retrains the front as asked, and writes its scores into the front.

    A subnet that was done before is not done again. Its better weights are marked for
    the export: those fine-tuned where they are better by one of the scores that are
    shown, and by none of them worse, on the split that the search looked at. What was
    trained from scratch is told beside them.

    Raises:
        RunError: If a loss is not finite.
    """
    experiment, run = context.experiment, context.run
    search, model = experiment.search, experiment.model
    if search.finetune is not None:
        supernet = load_supernet(run)
        course = _Course(
            title="finetune",
            field="search.finetune",
            spec=search.finetune,
            folder=run.finetuned,
            network=lambda member: model.extract(supernet, member.arch),
        )
        front = _trained(context, course)
        tuned = [_with_scores(experiment, member, run.finetuned) for member in front]
        write_front(run.front, tuned)
        better = sum(member.weights == "finetuned" for member in tuned)
        context.tell(
            f"fine-tuned: {better} of {len(tuned)} subnets are better for it on the "
            "search split, and exported so"
        )
    if search.retrain is not None:
        fresh = model.build(rngs=nnx.Rngs(experiment.seed))
        course = _Course(
            title="retrain",
            field="search.retrain",
            spec=search.retrain,
            folder=run.finetuned / FROM_SCRATCH,
            network=lambda member: model.extract(fresh, member.arch),
        )
        front = _trained(context, course)
        again = [m.with_scores(_told(course.folder, m, RETRAINED)) for m in front]
        write_front(run.front, again)


def _trained(context: Context, course: _Course) -> list[Member]:
    """Trains every subnet that was not yet, and returns the front."""
    front, steps = load_front(context.run.front), course.spec.steps
    with progress(context.console, course.title, len(front) * steps, "steps") as update:
        for done, member in enumerate(front):
            if not (course.folder / member.id / SCORES).exists():
                before = done * steps

                def tell(step: int, loss: str, before: int = before) -> None:
                    update(before + step, loss)

                _train(context.experiment, course, member, tell)
            update((done + 1) * steps)
    return front


def _train(
    experiment: Experiment,
    course: _Course,
    member: Member,
    tell: Callable[[int, str], None],
) -> None:
    """Trains and scores one subnet; its folder appears whole or not at all."""
    data, spec, network = experiment.data, course.spec, course.network(member)
    losses: list[float] = []

    def on_step(loss: float) -> None:
        losses.append(loss / data.nats_per_unit)
        if not math.isfinite(loss):
            raise RunError(
                f"{course.title} of subnet {member.id}: the loss of step "
                f"{len(losses)} is not finite. Lower {course.field}.learning_rate and "
                "run again; what was searched is kept"
            )
        tell(len(losses), f"{member.id} {losses[-1]:.2f}")

    train_alone(
        network,
        AdamW(learning_rate=spec.learning_rate, schedule=Cosine(floor=0.0)).transform(
            spec.steps
        ),
        _batches(data, spec, experiment.seed + ORDER),
        on_step=on_step,
    )
    folder = course.folder / member.id
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file(host_copy(flat_weights(network)), partial / WEIGHTS)
    write_json(partial / SCORES, _scores(experiment, network))
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def _batches(data: Dataset, spec: FineTune | Retrain, seed: int) -> Iterator[Batch]:
    for step in range(spec.steps):
        examples = data.batch(size=spec.batch, seed=seed, step=step)
        yield Batch(*jax.tree.map(jnp.asarray, tuple(examples)))


def _scores(experiment: Experiment, network: nnx.Module) -> dict[str, float]:
    """Returns the scores on both splits as the front has them, in the data's unit."""
    data, search = experiment.data, experiment.search
    found = {}
    splits = {
        "": data.fixed("search", search.examples),
        "test_": test_examples(data),
    }
    for split, (inputs, targets) in splits.items():
        alone = score_alone(network, inputs, targets, adversary=search.adversary)
        columns = {name: np.asarray([value]) for name, value in alone.items()}
        for name, values in in_units(data, columns).items():
            found[f"{split}{name}"] = float(values[0])
    return found


def _with_scores(experiment: Experiment, member: Member, finetuned: Path) -> Member:
    """Returns a member with what fine-tuning gave, and the better weights."""
    found = _told(finetuned, member, FINETUNED)
    pairs = [
        (found[f"{FINETUNED}{name}"], member.metrics[name]) for name in experiment.shown
    ]
    better = any(new < old for new, old in pairs)
    worse = any(new > old for new, old in pairs)
    return member.with_finetuned(found, better=better and not worse)


def _told(folder: Path, member: Member, prefix: str) -> dict[str, float]:
    """Returns the stored scores of a subnet, under names that tell them apart."""
    scores = read_json(folder / member.id / SCORES)
    return {f"{prefix}{name}": float(str(value)) for name, value in scores.items()}
