"""The elastic layers of a stack."""

from flax import nnx

from supernets.layers import ElasticBlock
from supernets.layers.quantization import Quantization
from supernets.quantization.precision import ACTIVATION_BITS, WEIGHT_BITS
from supernets.transformer.stack import Stack


def elastic_blocks(
    stack: Stack, *, causal: bool, rotary_base: float | None, rngs: nnx.Rngs
) -> list[ElasticBlock]:
    """Returns the stored layers.

    They are apart, not stacked weights: unrolled layers train faster than a scan on a
    CPU, and an extracted subnet just takes those it keeps.

    Args:
        stack: Their sizes.
        causal: Whether a position sees only those up to its own.
        rotary_base: Base of the rotary frequencies; none for no rotary positions.
        rngs: Source of the initial weights.
    """
    space = stack.space()
    width, heads, ffn = (space.choice(name) for name in ("width", "heads", "ffn"))
    names = {choice.name for choice in space.choices}
    quantization = None
    if stack.precision is not None:
        quantization = Quantization(
            stack.precision,
            space.choice(WEIGHT_BITS),
            space.choice(ACTIVATION_BITS) if ACTIVATION_BITS in names else None,
        )
    return [
        ElasticBlock(
            width,
            heads,
            ffn,
            head_dim=stack.head_dim,
            group=stack.group,
            causal=causal,
            rotary_base=rotary_base,
            use_gate=stack.gated,
            norm=stack.norm,
            output_scale=stack.output_scale,
            quantization=quantization,
            rngs=rngs,
        )
        for _ in range(stack.layers)
    ]


def outer_quantization(stack: Stack) -> Quantization | None:
    """Returns how weights outside the layers are quantised, if they are."""
    if stack.precision is None:
        return None
    return Quantization(stack.precision, stack.precision.outer)
