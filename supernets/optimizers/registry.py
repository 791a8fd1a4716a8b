"""Every optimiser that a recipe may name."""

from supernets.optimizers.adafactor import Adafactor
from supernets.optimizers.adamw import AdamW
from supernets.optimizers.lion import Lion
from supernets.optimizers.sgd import Sgd

OptimizerSpec = AdamW | Lion | Sgd | Adafactor
"""How gradients become updates, and what is kept of each weight.

============ ==============================================================
`AdamW`      two moments
`Lion`       one moment, updates of one size
`Sgd`        one moment, or none
`Adafactor`  sums over rows and columns of the second moment
============ ==============================================================
"""
