"""How a training step computes, as plain words that a recipe may hold."""

from typing import Literal

Compute = Literal["float32", "bfloat16"]
"""The type of activations and matrix products; weights stay float32."""

Remat = Literal["nothing", "layers", "dots"]
"""What the backward pass computes again instead of keeping it.

``nothing`` keeps whatever the gradient needs; ``layers`` keeps only what each layer is
given, and runs it once more, which costs about a third of the step (Chen 2016, arXiv
1604.06174); ``dots`` also keeps products of activations and weights, so that only
attention scores and what is done entry by entry are computed again. Products inside a
switch over sizes are not seen as such: there ``dots`` does as ``layers``.
"""
