"""The multi-task supernet."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from kernels.dispatch import run
from kernels.residual import residual
from search.space import Choice
from supernets.depth import after_each_depth, run_layers
from supernets.layers import (
    ElasticFeedForward,
    ElasticLinear,
    ElasticPositions,
    make_norm,
)
from supernets.losses.loss import Outputs
from supernets.lowering import (
    Extents,
    LayerExtents,
    extent_of,
    full_size,
    outside_layers,
)
from supernets.multitask.spec import MultiTask, Task
from supernets.network import padded_features
from supernets.norms import Norm
from supernets.regularization import Noise, with_dropout
from supernets.transformer.elastic import elastic_blocks
from supernets.vision.patches import patches_of

Images = Float[Array, "batch height width channels"]
Rows = Float[Array, "rows features"]


class ElasticFeedForwardBlock(nnx.Module):
    """A nested feed-forward network on the normalised input, added to the input.

    Args:
        features: Choice of the width.
        hidden: Choice of the hidden units; of size 0 the block adds nothing.
        norm: Kind of the norm.
        output_scale: Standard deviation of the projection that adds to the residual
            stream, relative to default.
        rngs: Source of the initial weights.
    """

    def __init__(
        self,
        features: Choice,
        hidden: Choice,
        *,
        norm: Norm,
        output_scale: float,
        rngs: nnx.Rngs,
    ) -> None:
        self.feed_forward_norm = make_norm(norm, features, read_by=hidden)
        self.feed_forward = ElasticFeedForward(
            features, hidden, use_gate=False, output_scale=output_scale, rngs=rngs
        )

    def __call__(self, x: Rows, extents: LayerExtents) -> Rows:
        """Transforms each row."""
        feed_forward = self.feed_forward.call(extents)
        return run(residual(self.feed_forward_norm.call(extents), feed_forward), x)


class ElasticTaskDecoder(nnx.Module):
    """What reads the encoder's tokens for one task.

    Args:
        spec: Of the whole model.
        task: Which of its tasks.
        rngs: Source of the initial weights.
    """

    def __init__(self, spec: MultiTask, task: Task, *, rngs: nnx.Rngs) -> None:
        width = spec.space().choice("width")
        self.tokens = spec.grid.count
        # One more than the encoder's sums for each layer; see `elastic_blocks`.
        sums = 2 * spec.layers + spec.decoder_layers
        # Keyed by text: a number in a weight's path is a layer of the encoder's stack
        # (`supernets.dimensions`), and these layers are outside of it.
        self.blocks = nnx.Dict(
            {
                str(number): ElasticFeedForwardBlock(
                    width,
                    task.choice,
                    norm=spec.norm,
                    output_scale=sums**-0.5,
                    rngs=rngs,
                )
                for number in range(spec.decoder_layers)
            }
        )
        self.norm = make_norm(spec.norm, width)
        self.head = ElasticLinear(width, task.classes, rngs=rngs)

    def __call__(self, x: Rows, extents: LayerExtents) -> Float[Array, "batch classes"]:
        """Returns the logits of flattened sequences."""
        for number in range(len(self.blocks)):
            x = self.blocks[str(number)](x, extents)
        return self.head(_pooled(self.norm(x, extents), self.tokens), extents)


class ElasticMultiTask(nnx.Module):
    """Weight-entangled encoder and decoders: subnets are prefixes of their weights."""

    def __init__(self, spec: MultiTask, *, rngs: nnx.Rngs) -> None:
        space = spec.space()
        width = space.choice("width")
        self.depth = space.depth
        self.width = width
        self.patch = spec.patch
        self.tokens = spec.grid.count
        self.patch_embedding = ElasticLinear(spec.grid.values, width, rngs=rngs)
        self.positions = ElasticPositions(spec.grid.count, width, rngs=rngs)
        self.blocks = nnx.List(
            elastic_blocks(spec.stack, causal=False, rotary_base=None, rngs=rngs)
        )
        self.tasks = tuple(task.name for task in spec.tasks)
        self.decoders = nnx.Dict(
            {
                task.name: ElasticTaskDecoder(spec, task, rngs=rngs)
                for task in spec.tasks
            }
        )

    def __call__(
        self, images: Images, extents: Extents
    ) -> dict[str, Float[Array, "batch _"]]:
        """Returns the logits of each task, of the subnet that the extents select."""
        x = run_layers(
            self.blocks, self._embedded(images, extents), extents, tokens=self.tokens
        )
        return self._decoded(x, extents)

    def outputs(
        self, images: Images, extents: Extents, *, noise: Noise | None = None
    ) -> Outputs:
        """Returns logits by task, and the features that all of them are read from.

        These are the mean over the encoder's tokens. What tells encoders of all widths
        to agree on them makes a decoder fit each (configuration-invariant distillation,
        see `supernets.losses.feature_distillation`).
        """
        x = with_dropout(self._embedded(images, extents), noise)
        x = run_layers(self.blocks, x, extents, tokens=self.tokens, noise=noise)
        return self._read(x, extents)

    def exits(self, images: Images, extents: Extents) -> tuple[Outputs, ...]:
        """Returns the outputs after each choice of depth, fewest layers first."""
        x = self._embedded(images, extents)
        states = after_each_depth(
            self.blocks, x, extents, self.depth, tokens=self.tokens
        )
        return tuple(self._read(state, extents) for state in states)

    def _embedded(self, images: Images, extents: Extents) -> Rows:
        outer = outside_layers(extents)
        x = self.patch_embedding(patches_of(images, self.patch), outer)
        x = self.positions(x, outer)
        return x.reshape(images.shape[0] * self.tokens, x.shape[-1])

    def _decoded(self, x: Rows, extents: Extents) -> dict[str, Array]:
        outer = outside_layers(extents)
        return {task: self.decoders[task](x, outer) for task in self.tasks}

    def _read(self, x: Rows, extents: Extents) -> Outputs:
        features = extent_of(self.width, outside_layers(extents))
        pooled = _pooled(x, self.tokens)
        return Outputs(
            self._decoded(x, extents),
            *padded_features(pooled, features, full_size(self.width)),
        )


def _pooled(x: Rows, tokens: int) -> Float[Array, "batch features"]:
    """Returns the mean over each sequence of flattened ones."""
    return jnp.mean(x.reshape(x.shape[0] // tokens, tokens, x.shape[-1]), axis=1)
