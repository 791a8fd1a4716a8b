"""The norms that a stack of layers may have, by name."""

from typing import Literal

Norm = Literal["rms", "layer"]
"""RMSNorm (Zhang 2019) or LayerNorm (Ba 2016)."""

VECTORS: dict[Norm, int] = {"rms": 1, "layer": 2}
"""Learned vectors of a norm: a scale, and of LayerNorm a bias."""
