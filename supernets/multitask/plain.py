"""The plain multi-task network that a subnet becomes: standard layers."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from supernets.norms import Norm
from supernets.transformer.plain import fields_from_json, plain_blocks, plain_norm
from supernets.vision.patches import patches_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlainMultiTaskConfig:
    """Sizes of a plain multi-task network.

    Heads and ffn have one entry for each layer of the encoder; tasks, classes and units
    one for each task. An entry of 0 is of a layer without attention, or without a
    feed-forward network.
    """

    image: tuple[int, int, int]
    patch: int
    width: int
    head_dim: int
    heads: tuple[int, ...]
    ffn: tuple[int, ...]
    norm: Norm
    tasks: tuple[str, ...]
    classes: tuple[int, ...]
    units: tuple[int, ...]
    decoder_layers: int

    @property
    def kv_heads(self) -> tuple[int, ...]:
        """Key-value heads: each head has its own."""
        return self.heads

    @property
    def gated(self) -> bool:
        """Feed-forward networks have no gate."""
        return False

    @property
    def tokens(self) -> int:
        """Length of the sequence: the patches."""
        return self.image[0] * self.image[1] // self.patch**2

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "PlainMultiTaskConfig":
        """Rebuilds a config from the JSON of its fields, where tuples are lists.

        Raises:
            TypeError: If a field is missing or unknown.
        """
        return cls(**fields_from_json(stored))

    def build(self, *, rngs: nnx.Rngs) -> "PlainMultiTask":
        """Returns the network with initial weights."""
        return PlainMultiTask(self, rngs=rngs)


class PlainTaskDecoder(nnx.Module):
    """What reads the encoder's tokens for one task.

    Args:
        config: Sizes of the whole network.
        task: Number of the task.
        rngs: Source of the initial weights.
    """

    def __init__(
        self, config: PlainMultiTaskConfig, task: int, *, rngs: nnx.Rngs
    ) -> None:
        layers, units = config.decoder_layers, config.units[task]
        sizes = dataclasses.replace(config, heads=(0,) * layers, ffn=(units,) * layers)
        self.tokens = config.tokens
        self.blocks = nnx.List(
            plain_blocks(sizes, causal=False, rotary_base=None, rngs=rngs)
        )
        self.norm = plain_norm(config.norm, config.width, rngs=rngs)
        self.head = nnx.Linear(config.width, config.classes[task], rngs=rngs)

    def __call__(self, x: Float[Array, "rows width"]) -> Float[Array, "batch classes"]:
        """Returns the logits of flattened sequences."""
        for block in self.blocks:
            x = block(x, tokens=self.tokens)
        x = self.norm(x).reshape(x.shape[0] // self.tokens, self.tokens, x.shape[-1])
        return self.head(jnp.mean(x, axis=1))


class PlainMultiTask(nnx.Module):
    """An image classifier for several tasks at once.

    Args:
        config: Its sizes.
        rngs: Source of the initial weights.
    """

    def __init__(self, config: PlainMultiTaskConfig, *, rngs: nnx.Rngs) -> None:
        width, tokens = config.width, config.tokens
        values = config.patch**2 * config.image[2]
        self.patch = config.patch
        self.tokens = tokens
        self.patch_embedding = nnx.Linear(values, width, rngs=rngs)
        init = nnx.initializers.normal(stddev=0.02)
        self.positions = nnx.Param(init(rngs.params(), (tokens, width)))
        self.blocks = nnx.List(
            plain_blocks(config, causal=False, rotary_base=None, rngs=rngs)
        )
        self.tasks = config.tasks
        self.decoders = nnx.Dict(
            {
                task: PlainTaskDecoder(config, number, rngs=rngs)
                for number, task in enumerate(config.tasks)
            }
        )

    def __call__(
        self, images: Float[Array, "batch height width channels"]
    ) -> dict[str, Float[Array, "batch _"]]:
        """Returns the logits of each task."""
        x = self.patch_embedding(patches_of(images, self.patch))
        x = (x + self.positions[None]).reshape(-1, x.shape[-1])
        for block in self.blocks:
            x = block(x, tokens=self.tokens)
        return {task: self.decoders[task](x) for task in self.tasks}
