"""What a loss is: what it is given, and what it gives back."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    import jax


class Batch(NamedTuple):
    """What every subnet of a step sees.

    Attributes:
        inputs: Tokens of shape ``(batch, tokens)``, or images
            ``(batch, height, width, channels)``.
        targets: Class indices, of the shape of the logits without their last axis; of
            several tasks, by the task's name.
    """

    inputs: "jax.Array"
    targets: "jax.Array | Mapping[str, jax.Array]"


class Outputs(NamedTuple):
    """What a network gives.

    Attributes:
        logits: Of shape ``(..., classes)``; of several tasks, by the task's name.
        features: What the head reads, of the full width ``(..., features)``: active
            ones first, zeros after them.
        active: Which features are active, ``(features,)``, as ones and zeros.
    """

    logits: "jax.Array | Mapping[str, jax.Array]"
    features: "jax.Array"
    active: "jax.Array"


class Lesson(NamedTuple):
    """What a subnet is taught in a step.

    Attributes:
        objective: What its gradient is taken of, a scalar.
        outputs: What it gave for the inputs of the batch as they are.
    """

    objective: "jax.Array"
    outputs: Outputs


@runtime_checkable
class Network(Protocol):
    """One subnet at its current weights, as a differentiable function of inputs."""

    @property
    def depths(self) -> tuple[int, ...]:
        """Layers that run before each exit, fewest first; none if it has no exits."""
        ...

    def __call__(self, inputs: "jax.Array") -> Outputs:
        """Runs the subnet."""
        ...

    def detached(self) -> "Network":
        """Returns the subnet as it is evaluated: no noise, no gradient to weights."""
        ...

    def exits(self, inputs: "jax.Array") -> "tuple[Outputs, ...]":
        """Runs it once and reads the head after each choice of depth, fewest first.

        Raises:
            ValueError: If the depth of its space is not one of ``prefix``.
        """
        ...


@runtime_checkable
class Loss(Protocol):
    """A loss, as a frozen dataclass of static values.

    Attributes:
        needs_teacher: Whether it can do nothing without a teacher.
        needs_exits: Whether it reads the outputs after each choice of depth.
    """

    needs_teacher: ClassVar[bool]
    needs_exits: ClassVar[bool]

    def __call__(
        self,
        network: Network,
        batch: Batch,
        teacher: Outputs | None,
        key: "jax.Array",
    ) -> Lesson:
        """Returns what is minimised, as a mean over examples (or tokens) in nats.

        Args:
            network: The subnet that learns.
            batch: The step's data.
            teacher: What another network gave for the same inputs; it has no gradient.
            key: Randomness of this step and this subnet.
        """
        ...


def given(teacher: Outputs | None, loss: Loss) -> Outputs:
    """Returns the teacher of a loss that needs one.

    Raises:
        ValueError: If there is none.
    """
    if teacher is None:
        raise ValueError(
            f"{type(loss).__name__} needs a teacher; the policy names none"
        )
    return teacher


def require_shares(**shares: float) -> None:
    """Checks that each share lies between 0 and 1.

    Raises:
        ValueError: If one does not, with its name.
    """
    for name, share in shares.items():
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"{name} must lie in 0..1, got {share}")


def require_smoothing(smoothing: float) -> None:
    """Checks that smoothed labels still tell something.

    Raises:
        ValueError: If the probability that they spread evenly is not in 0..1, or is 1.
    """
    if not 0.0 <= smoothing < 1.0:
        raise ValueError(f"smoothing must lie in 0..1 and below 1, got {smoothing}")
