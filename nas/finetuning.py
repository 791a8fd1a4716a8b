"""How subnets of the front are trained further, each alone."""

import dataclasses

from supernets.quantization.precision import Precision


@dataclasses.dataclass(frozen=True, kw_only=True)
class FineTune:
    """Training of an extracted subnet on the training split, at a rate that falls to 0.

    A subnet of the front shares its weights with all others; alone it can do better
    (Once-for-All, Cai et al. 2020, section 4, trains its subnets for 25 or 75 epochs
    more). It starts from the weights that it inherits and learns from the data with
    AdamW, in float32 on one device. What it then is worth is said beside what it was
    worth before, and the better weights are exported.

    Supernets with batch normalisation have to estimate the statistics of each subnet
    anew. The models here have LayerNorm and RMSNorm, which keep none.

    Raises:
        ValueError: If a value is out of range.
    """

    steps: int = 100
    """Updates of each subnet."""
    learning_rate: float = 1e-4
    """Peak learning rate, some tenth of that of the training or less."""
    batch: int = 32
    """Examples of each update."""

    def __post_init__(self) -> None:
        _check(self.steps, self.batch, self.learning_rate)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Retrain:
    """Training of each subnet of the front from scratch, beside what it inherits.

    Papers on search tell what a subnet is worth with the weights of the supernet, with
    those after fine-tuning, and with its own from the start (TangleNAS, Sukthanker et
    al. 2024, section 5). It starts from the random weights of a new supernet, and
    learns from the data with AdamW at a rate that falls to 0, in float32 on one device.
    Its scores are told; what is exported stays as it is.

    Raises:
        ValueError: If a value is out of range.
    """

    steps: int = 300
    """Updates of each subnet; as many as the supernet had make a fair comparison."""
    learning_rate: float = 4e-3
    """Peak learning rate."""
    batch: int = 32
    """Examples of each update."""

    def __post_init__(self) -> None:
        _check(self.steps, self.batch, self.learning_rate)


def check_finetuning(
    finetune: FineTune | None, retrain: Retrain | None, precision: Precision | None
) -> None:
    """Refuses to train subnets alone that hold integers.

    Args:
        finetune: Of `nas.experiment.Search`.
        retrain: Of it.
        precision: Of the model.

    Raises:
        ValueError: If a model of elastic precision is to have one of the two.
    """
    if precision is None:
        return
    for field, asked in (("finetune", finetune), ("retrain", retrain)):
        if asked is not None:
            raise ValueError(
                f"search.{field} trains subnets alone, in float32; those of a model "
                "with precision hold integers, which no gradient moves: leave "
                f"search.{field} out, or train the supernet for more steps"
            )


def _check(steps: int, batch: int, learning_rate: float) -> None:
    for name, count in (("steps", steps), ("batch", batch)):
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
    if not learning_rate > 0:
        raise ValueError(f"learning_rate must be positive, got {learning_rate}")
