"""Supernets changed as proxies need them, for one trace."""

from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from kernels import dispatch
from kernels.extents import restrict
from kernels.held_norm import HeldRmsNorm
from kernels.operation import Call
from supernets.layers import ElasticEmbedding, ElasticLayerNorm, ElasticRmsNorm
from supernets.lowering import Dimension, LayerExtents, extent_of, full_size

Norm = ElasticRmsNorm | ElasticLayerNorm


class HeldNorm(nnx.Module):
    """A norm as synaptic flow sees it: a scaling that is linear in what it reads.

    It divides by the root mean square and holds that constant, whatever kind the norm
    was, so that nothing becomes negative; the scale stays, bias and centring do not.
    Batch norms act like this in Tanaka's code, where the statistics are those of
    training. Without any division a few gated layers overflow, and behind a norm proper
    the weights before it have no flow.

    Args:
        norm: Whose scale it takes.
    """

    def __init__(self, norm: Norm) -> None:
        self.norm = norm

    def __call__(
        self, x: Float[Array, "*batch features"], extents: LayerExtents
    ) -> Float[Array, "*batch features"]:
        """Scales each row."""
        rows = x.reshape(-1, x.shape[-1])
        return dispatch.run(self.call(extents), rows).reshape(x.shape)

    def call(self, extents: LayerExtents) -> Call:
        """Returns the operation without its input."""
        proper = self.norm.call(extents)
        return Call(HeldRmsNorm(), proper.extents, self.norm.scale[...])


class OnesEmbedding(nnx.Module):
    """An embedding of which every token is a vector of ones; its table is a head alone.

    Args:
        embedding: Whose table it takes.
    """

    def __init__(self, embedding: ElasticEmbedding) -> None:
        self.embedding = embedding

    def __call__(
        self, tokens: Int[Array, "*batch"], extents: LayerExtents
    ) -> Float[Array, "*batch features"]:
        """Gives ones for any token."""
        features = self.embedding.features
        ones = jnp.ones((*tokens.shape, full_size(features)))
        return _restricted(ones, features, extents)

    def attend(
        self, x: Float[Array, "*batch features"], extents: LayerExtents
    ) -> Float[Array, "*batch vocabulary"]:
        """Scores every token."""
        return self.embedding.attend(x, extents)


class ShiftedEmbedding(nnx.Module):
    """An embedding that adds to what it looks up.

    Args:
        embedding: That looks up.
        shift: What it adds, of full width; as many entries as it is asked for.
    """

    def __init__(self, embedding: ElasticEmbedding, shift: Float[Array, "..."]) -> None:
        self.embedding = embedding
        # Not a parameter: gradients are taken by it, not of it.
        self.shift = nnx.Variable(shift)

    def __call__(
        self, tokens: Int[Array, "*batch"], extents: LayerExtents
    ) -> Float[Array, "*batch features"]:
        """Looks tokens up, and adds."""
        features = self.embedding.features
        shift = self.shift[...].reshape(*tokens.shape, full_size(features))
        return self.embedding(tokens, extents) + _restricted(shift, features, extents)

    def attend(
        self, x: Float[Array, "*batch features"], extents: LayerExtents
    ) -> Float[Array, "*batch vocabulary"]:
        """Scores every token."""
        return self.embedding.attend(x, extents)


def hold_norms(supernet: nnx.Module) -> None:
    """Makes all norms `HeldNorm`, in place."""
    _replace(supernet, lambda m: HeldNorm(m) if isinstance(m, Norm) else None)


def embed_ones(supernet: nnx.Module) -> None:
    """Makes all token embeddings `OnesEmbedding`, in place."""
    _replace(
        supernet,
        lambda m: OnesEmbedding(m) if isinstance(m, ElasticEmbedding) else None,
    )


def shift_embedding(supernet: nnx.Module, shift: Float[Array, "..."]) -> None:
    """Makes the token embedding a `ShiftedEmbedding`, in place."""
    _replace(
        supernet,
        lambda m: (
            ShiftedEmbedding(m, shift) if isinstance(m, ElasticEmbedding) else None
        ),
    )


def embedded_width(supernet: nnx.Module) -> int | None:
    """Returns the full width of what tokens are looked up in, if that is one table."""
    found = [
        full_size(module.features)
        for _, module in nnx.iter_modules(supernet)
        if isinstance(module, ElasticEmbedding)
    ]
    return found[0] if len(found) == 1 else None


def _restricted(
    array: Array, features: Dimension, extents: LayerExtents
) -> Float[Array, "*batch features"]:
    extent = extent_of(features, extents)
    return restrict(array, extent, axis=array.ndim - 1)


def _replace(
    supernet: nnx.Module, other: Callable[[nnx.Module], nnx.Module | None]
) -> None:
    """Puts other modules in the place of some, wherever modules hold them.

    Args:
        supernet: Made for one trace, since paths of its parameters change.
        other: What takes a module's place, if anything does.
    """
    for _, owner in list(nnx.iter_modules(supernet)):
        for name, held in list(vars(owner).items()):
            taken = other(held) if isinstance(held, nnx.Module) else None
            if taken is not None:
                setattr(owner, name, taken)
