"""Checks of what phases do to quantised weights, before anything is spent."""

from collections.abc import Sequence

from supernets.phases import Phase
from supernets.quantization.precision import Precision
from supernets.regularization import Regularization


def check_bits(
    phases: Sequence[Phase],
    regularization: Regularization,
    precision: Precision | None,
) -> None:
    """Refuses to train or to calibrate scales and adapters that a model has not.

    Args:
        phases: Of the training.
        regularization: Of it.
        precision: Of the model; ``None`` if its weights are float32.

    Raises:
        ValueError: If a model would need a precision, or adapters, saying where.
    """
    for number, phase in enumerate(phases, start=1):
        if precision is None and (phase.calibrate or phase.trains != "all"):
            asked = "calibrate" if phase.calibrate else f"trains={phase.trains!r}"
            raise ValueError(
                f"phase {number} has {asked}, but weights are float32 and have no "
                "scales: give model.precision, or leave it out"
            )
        if phase.trains == "adapters" and precision and not precision.adapters:
            raise ValueError(
                f"phase {number} trains adapters, and there are none: set "
                "model.precision.adapters to their rank"
            )
    if precision is None and (regularization.skewness or regularization.kurtosis):
        raise ValueError(
            "train.regularization shapes quantised weights (skewness, kurtosis), and "
            "there are none: give model.precision, or leave both at 0"
        )
