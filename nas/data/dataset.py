"""What a data set is: examples of one shape, in three splits, as arrays."""

from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

Split = Literal["train", "search", "test"]
"""What weights learn from; what subnets are compared on; what a result is told on."""

SPLITS: tuple[Split, ...] = ("train", "search", "test")

Inputs = (
    Int[np.ndarray, "examples tokens"]
    | Float[np.ndarray, "examples height width channels"]
)
Labels = Int[np.ndarray, "examples *positions"]
Targets = Labels | Mapping[str, Labels]
Classes = int | Mapping[str, int]

EVERY = slice(None)
"""All examples of a step."""


class Examples(NamedTuple):
    """Some examples of a data set.

    Attributes:
        inputs: Tokens of shape ``(examples, tokens)``, or images
            ``(examples, height, width, channels)``.
        targets: The class of every prediction: of the shape of tokens, or one for each
            image; of several tasks, by the task's name.
    """

    inputs: Inputs
    targets: Targets


@runtime_checkable
class Dataset(Protocol):
    """A data set, as a frozen dataclass of plain values."""

    @property
    def title(self) -> str:
        """What it is, in words for a report."""
        ...

    @property
    def example(self) -> tuple[int, ...]:
        """Shape of one input: (tokens,), or (height, width, channels)."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """Type of the inputs: whole numbers for tokens, floats for images."""
        ...

    @property
    def classes(self) -> Classes:
        """Number of classes; of several tasks, by the task's name."""
        ...

    @property
    def loss_unit(self) -> str:
        """What losses are given in to people and in files, such as bits per byte."""
        ...

    @property
    def nats_per_unit(self) -> float:
        """How many nats one such unit is."""
        ...

    def check(self) -> None:
        """Makes sure that the data is there.

        Raises:
            UsageError: If it is missing, unreadable or too little.
        """
        ...

    def batch(
        self, *, size: int, seed: int, step: int, rows: slice = EVERY
    ) -> Examples:
        """Returns a step's training examples; a pure function of its arguments.

        Args:
            size: Examples in the step, of all hosts together.
            seed: Of their order, and of what is done to them.
            step: Number of the step, from 0.
            rows: Which of them are returned. The others are not read from files, so
                that each host reads its own part only.
        """
        ...

    def fixed(self, split: Split, count: int) -> Examples:
        """Returns examples of a split, always the same; all of it if it has fewer."""
        ...

    def digest(self) -> str:
        """Returns sixteen hexadecimal digits of everything that it holds."""
        ...


ATTACKED = "adversarial_error"
"""The error on inputs that an adversary has changed, over all tasks."""


def score_names(classes: Classes, *, attacked: bool = False) -> tuple[str, ...]:
    """Returns the names of what an evaluation on data tells of a subnet.

    >>> score_names(10)
    ('loss', 'error')
    >>> score_names({"digit": 10}, attacked=True)
    ('loss', 'error', 'loss_digit', 'error_digit', 'adversarial_error')

    Args:
        classes: Of the data; see `supernets.evaluation.scores`.
        attacked: Whether inputs are attacked as well.
    """
    tasks = () if isinstance(classes, int) else classes
    by_task = (f"{kind}_{task}" for task in tasks for kind in ("loss", "error"))
    return ("loss", "error", *by_task, *([ATTACKED] if attacked else []))


def score_in_words(name: str) -> str:
    """Says what a score is of.

    >>> score_in_words("loss"), score_in_words("error_digit")
    ('loss', 'error of digit')
    >>> score_in_words("adversarial_error")
    'adversarial error'
    """
    if name == ATTACKED:
        return "adversarial error"
    kind, _, task = name.partition("_")
    return f"{kind} of {task}" if task else kind


def in_units(
    data: Dataset, scores: Mapping[str, Float[np.ndarray, " population"]]
) -> dict[str, Float[np.ndarray, " population"]]:
    """Returns scores with losses in the unit of the data instead of nats.

    Args:
        data: What they were evaluated on.
        scores: As `supernets.evaluation` gives them, by name.
    """
    return {
        name: values / data.nats_per_unit if name.startswith("loss") else values
        for name, values in scores.items()
    }


def in_words(batch: int, example: tuple[int, ...]) -> str:
    """Says how large an input is.

    >>> in_words(8, (128,)), in_words(1, (8, 8, 1))
    ('8 x 128 tokens', '1 image of 8 x 8 x 1')
    """
    sizes = " x ".join(str(size) for size in example)
    if len(example) == 1:
        return f"{batch} x {sizes} tokens"
    return f"{batch} image{'s' if batch > 1 else ''} of {sizes}"
