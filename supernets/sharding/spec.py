"""How many devices share a training, and what they share, as plain values."""

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jax

REST = -1
"""As many devices as the other axes leave."""

AXES = ("data", "fsdp", "tensor")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parallel:
    """Devices of a training: their number is the product of the three axes.

    One device trains as if there were no axes.

    Raises:
        ValueError: If a size is not positive.
    """

    data: int = REST
    """Devices that have examples of their own and equal weights; -1: as many as there
    are for the other two axes."""
    fsdp: int = 1
    """Devices that have examples of their own and a part of weights and moments."""
    tensor: int = 1
    """Devices that share the heads and the hidden units of every layer. It must divide
    every choice of hidden units, and of heads (of key-value heads, where queries are
    grouped)."""

    def __post_init__(self) -> None:
        for name in AXES:
            size, rest = getattr(self, name), name == "data"
            if size < 1 and not (rest and size == REST):
                legal = f"positive, or {REST} for the rest" if rest else "positive"
                raise ValueError(f"{name} must be {legal}, got {size}")

    def sizes(self, count: int) -> tuple[int, int, int]:
        """Returns the sizes of the axes with that many devices.

        Raises:
            ValueError: If there are too few, or the rest does not divide.
        """
        fixed = self.fsdp * self.tensor
        if self.data == REST and count % fixed:
            raise ValueError(
                f"fsdp {self.fsdp} x tensor {self.tensor} = {fixed} does not divide "
                f"the {count} devices there are; choose a divisor"
            )
        data = count // fixed if self.data == REST else self.data
        if data * fixed > count:
            raise ValueError(
                f"data {data} x fsdp {self.fsdp} x tensor {self.tensor} = "
                f"{data * fixed} devices, but there are {count}; let data be {REST}, "
                "which takes what is there"
            )
        return data, self.fsdp, self.tensor

    def mesh(
        self, devices: "Sequence[jax.Device] | None" = None
    ) -> "jax.sharding.Mesh":
        """Returns the mesh of these axes.

        Args:
            devices: Whose, the first ones if there are more than are needed; those of
                all processes if not given.

        Raises:
            ValueError: If there are too few, the rest does not divide, or a process
                would have none that takes part.
        """
        # Imported here so that reading a recipe starts no array library.
        import jax

        devices = jax.devices() if devices is None else devices
        kinds = (jax.sharding.AxisType.Auto,) * len(AXES)
        sizes = self.sizes(len(devices))
        taken = devices[: math.prod(sizes)]
        processes = [{device.process_index for device in d} for d in (taken, devices)]
        if processes[0] < processes[1]:
            raise ValueError(
                f"data, fsdp and tensor need {len(taken)} of {len(devices)} devices, "
                f"which leaves a process without any; let data be {REST}"
            )
        return jax.make_mesh(sizes, AXES, kinds, devices=taken)
