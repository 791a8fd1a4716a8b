"""Stage 5: train each subnet of the front further, alone, and say what that gives."""

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
from nas.finetuning import FineTune
from nas.front import FINETUNED, Member, load_front, write_front
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

ORDER = 1
"""Added to the seed, so that examples come in another order than in training."""


def finetune(context: Context) -> None:
    """Fine-tunes the front if that is asked for, and writes its scores into the front.

    A subnet that was done before is not done again. Its better weights are marked for
    the export: those fine-tuned where they are better by one of the scores that are
    shown, and by none of them worse, on the split that the search looked at.

    Raises:
        RunError: If a loss is not finite.
    """
    spec, run = context.experiment.search.finetune, context.run
    if spec is None:
        return
    front, supernet = load_front(run.front), load_supernet(run)
    with progress(
        context.console, "finetune", len(front) * spec.steps, "steps"
    ) as update:
        for done, member in enumerate(front):
            folder = run.finetuned / member.id
            if not (folder / SCORES).exists():
                network = context.experiment.model.extract(supernet, member.arch)
                before = done * spec.steps

                def tell(step: int, loss: str, before: int = before) -> None:
                    update(before + step, loss)

                _finetune(context.experiment, spec, network, member, folder, tell)
            update((done + 1) * spec.steps)
    tuned = [
        _with_scores(context.experiment, member, run.finetuned) for member in front
    ]
    write_front(run.front, tuned)
    better = sum(member.weights == "finetuned" for member in tuned)
    context.tell(
        f"fine-tuned: {better} of {len(tuned)} subnets are better for it on the search "
        "split, and exported so"
    )


def _finetune(
    experiment: Experiment,
    spec: FineTune,
    network: nnx.Module,
    member: Member,
    folder: Path,
    tell: Callable[[int, str], None],
) -> None:
    """Trains and scores one subnet; its folder appears whole or not at all."""
    data = experiment.data
    losses: list[float] = []

    def on_step(loss: float) -> None:
        losses.append(loss / data.nats_per_unit)
        if not math.isfinite(loss):
            raise RunError(
                f"fine-tuning subnet {member.id}: the loss of step {len(losses)} is "
                "not finite. Lower search.finetune.learning_rate and run again; what "
                "was searched is kept"
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
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file(host_copy(flat_weights(network)), partial / WEIGHTS)
    write_json(partial / SCORES, _scores(experiment, network))
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def _batches(data: Dataset, spec: FineTune, seed: int) -> Iterator[Batch]:
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
    scores = read_json(finetuned / member.id / SCORES)
    found = {f"{FINETUNED}{name}": float(str(value)) for name, value in scores.items()}
    pairs = [
        (found[f"{FINETUNED}{name}"], member.metrics[name]) for name in experiment.shown
    ]
    better = any(new < old for new, old in pairs)
    worse = any(new > old for new, old in pairs)
    return member.with_finetuned(found, better=better and not worse)
