"""The multi-task supernet as plain values: space, costs and latency terms."""

import dataclasses
import math
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float

from search.space import Architecture, Choice, Genotypes, Space
from supernets import costs
from supernets.model import Classes, Example
from supernets.norms import Norm
from supernets.transformer.stack import LayerSizes, Stack, latency_terms_of
from supernets.vision.grid import PatchGrid

if TYPE_CHECKING:
    from flax import nnx

    from supernets.multitask.elastic import ElasticMultiTask
    from supernets.multitask.plain import PlainMultiTask, PlainMultiTaskConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """What one decoder predicts, and how large it may be.

    Raises:
        ValueError: If the name is no identifier, there are no classes, or the units are
            no sizes.
    """

    name: str
    """What the data calls it; its choice is ``NAME_units``."""
    classes: int
    """Number of classes."""
    units: tuple[int, ...]
    """Choices of the hidden units of each decoder layer; 0 skips these layers."""

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(
                f"task name {self.name!r} is not a Python identifier, which its choice "
                "needs"
            )
        if self.classes < 1:
            raise ValueError(
                f"task {self.name!r} has {self.classes} classes; it needs at least one"
            )
        if self.units and (min(self.units) < 0 or max(self.units) < 1):
            raise ValueError(
                f"units of task {self.name!r} must be positive, or 0 in some of the "
                f"choices, got {self.units}"
            )
        # Which checks that units are in order.
        _ = self.choice

    @property
    def choice(self) -> Choice:
        """The size of its decoder, decided once for the whole network."""
        return Choice(f"{self.name}_units", self.units)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultiTask:
    """A vision transformer without a head, and an elastic decoder for each task.

    The encoder is shared, and each task reads its tokens with a decoder of its own
    size: a user who prefers one task gives it the larger decoder, and shrinks the
    encoder to keep a budget (Efficient Controllable Multi-Task Architectures, arXiv
    2308.11744, of which we had the abstract only). A decoder is feed-forward layers in
    pre-norm residual form on every token, a norm, the mean over tokens and a linear
    map.

    Raises:
        ValueError: If sizes cannot form patches, heads or layers, or tasks share a
            name.
    """

    width: tuple[int, ...]
    """Choices of the width of encoder and decoders, one for the whole network."""
    heads: tuple[int, ...]
    """Choices of the number of heads, for each layer; 0 skips attention."""
    ffn: tuple[int, ...]
    """Choices of the feed-forward hidden units, for each layer; 0 skips them."""
    depth: tuple[int, ...]
    """Choices of the number of layers that run; the largest is how many are stored."""
    depth_rule: Literal["prefix", "spaced", "free"] = "prefix"
    """Which layers run at a smaller depth."""
    head_dim: int = 32
    """Size of each head."""
    norm: Norm = "layer"
    """Kind of normalisation."""
    image: tuple[int, int, int] = (32, 32, 3)
    """Height, width and channels of an image."""
    patch: int = 4
    """Side of the square patches; each becomes a token."""
    tasks: tuple[Task, ...]
    """What is predicted of each image."""
    decoder_layers: int = 1
    """Feed-forward layers of each decoder."""

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ValueError("there are no tasks; give at least one")
        names = [task.name for task in self.tasks]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"tasks share a name: {sorted(repeated)}")
        if self.decoder_layers < 1:
            raise ValueError(
                f"decoder_layers must be at least 1, got {self.decoder_layers}"
            )
        # Which check the sizes of layers and patches.
        _ = self.stack, self.grid

    @property
    def stack(self) -> Stack:
        """The layers of the encoder."""
        return Stack(
            width=self.width,
            heads=self.heads,
            ffn=self.ffn,
            depth=self.depth,
            depth_rule=self.depth_rule,
            head_dim=self.head_dim,
            gated=False,
            norm=self.norm,
        )

    @property
    def grid(self) -> PatchGrid:
        """The patches of an image; there is a token for each."""
        return PatchGrid(self.image, self.patch)

    @property
    def layers(self) -> int:
        """Number of stored layers of the encoder."""
        return self.stack.layers

    def space(self) -> Space:
        """Returns the search space."""
        # Those of the encoder first: its stack finds them where it would alone.
        encoder = self.stack.space()
        units = (task.choice for task in self.tasks)
        return dataclasses.replace(encoder, choices=(*encoder.choices, *units))

    def build(self, *, rngs: "nnx.Rngs") -> "ElasticMultiTask":
        """Returns the supernet with initial weights."""
        # Imported here so that reading a recipe starts no network library.
        from supernets.multitask.elastic import ElasticMultiTask

        return ElasticMultiTask(self, rngs=rngs)

    def cost(self, genotypes: Genotypes, *, batch: int, example: Example) -> costs.Cost:
        """Returns the cost on images; see `supernets.model.Model.cost`.

        Raises:
            ValueError: If ``example`` is not the shape of the images.
        """
        self.grid.require(example)
        width, tokens = self.stack.widths(genotypes), self.grid.count
        one, values = np.asarray(1), np.asarray(self.grid.values)
        total = (
            costs.linear(batch * tokens, values, width)
            + costs.vectors(1 + tokens, width)
            + self.stack.cost_of(self.sizes(genotypes), batch=batch, tokens=tokens)
        )
        for task in self.tasks:
            total += self.stack.outer_norm(genotypes)
            total += costs.linear(batch, width, np.asarray(task.classes))
            total += costs.vectors(task.classes, one)
        return total

    def costs(
        self, genotypes: Genotypes, *, batch: int, example: Example
    ) -> dict[str, Float[np.ndarray, " population"]]:
        """Returns exact costs on images; see `supernets.model.Model.costs`.

        Raises:
            ValueError: If ``example`` is not the shape of the images.
        """
        total = self.cost(genotypes, batch=batch, example=example)
        logits = sum(task.classes for task in self.tasks)
        held = batch * (math.prod(self.image) + logits)
        priced = costs.priced(total, other_bytes=costs.BYTES_PER_FLOAT * held)
        return priced | self.stack.mean_bits(genotypes)

    def latency_terms(
        self, genotypes: Genotypes
    ) -> Float[np.ndarray, "population terms"]:
        """Returns the terms of `supernets.transformer.stack.latency_terms_of`."""
        sizes = (*self.heads, *self.ffn, *(u for t in self.tasks for u in t.units))
        return latency_terms_of(
            self.sizes(genotypes), widths=self.width, halves_drop=0 in sizes
        )

    def sizes(self, genotypes: Genotypes) -> LayerSizes:
        """Returns the sizes of the encoder's layers, then of those of the decoders.

        A decoder's layers are as others, without attention.
        """
        space, encoder = self.space(), self.stack.sizes(genotypes)
        each = [space.values(genotypes, task.choice.name) for task in self.tasks]
        units = np.repeat(np.stack(each, axis=1), self.decoder_layers, axis=1)
        decoders = LayerSizes(
            width=np.broadcast_to(encoder.width[:, :1], units.shape),
            heads=np.zeros_like(units),
            ffn=units.astype(np.int64),
            runs=np.ones(units.shape, bool),
        )
        parts = zip(encoder, decoders, strict=True)
        return LayerSizes(*(np.concatenate(pair, axis=1) for pair in parts))

    def extract(
        self, supernet: "nnx.Module", architecture: Architecture
    ) -> "PlainMultiTask":
        """Returns a subnet as a plain network that holds only its own weights.

        Raises:
            ValueError: If the architecture is not a member of the space.
        """
        from supernets.multitask.extraction import extract

        return extract(supernet, self, architecture)

    def plain_config(self, architecture: Architecture) -> "PlainMultiTaskConfig":
        """Returns the sizes of the plain network of an architecture.

        Raises:
            ValueError: If the architecture is not a member of the space.
        """
        from supernets.multitask.extraction import plain_config

        return plain_config(self, architecture)

    def check(self, example: Example, classes: Classes) -> None:
        """Makes sure that data are images of this size with labels of these tasks.

        Raises:
            ValueError: If they are not.
        """
        self.grid.require(example)
        ours = {task.name: task.classes for task in self.tasks}
        if isinstance(classes, int) or dict(classes) != ours:
            raise ValueError(
                f"the tasks of the model have the classes {ours}, those of the data "
                f"{classes}; they must be the same"
            )
