"""Post-training quantisation by Qwix, in an environment of its own."""

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from flax import nnx

from experiments.benchmarks import environments
from supernets.layers.quantizers import SUFFIX
from supernets.weights import Weight, flat_weights

QWIX = "0.1.8"


def rounded_by_qwix(
    network: nnx.Module, bits: Sequence[int]
) -> dict[int, dict[str, Weight]]:
    """Returns weights of which Qwix has rounded those of layers, for each bit-width.

    Every output channel has the scale that Qwix gives it: from the largest of its
    absolute weights, without a search. What integers stand for is in place of weights,
    to be run in 16 bits.

    Args:
        network: With elastic bits.
        bits: Widths to round to.

    Raises:
        SystemExit: If there is no environment with Qwix and none can be built.
    """
    weights = flat_weights(network)
    scales = {
        name: weights[found]
        for name in weights
        if name.startswith("blocks.") and (found := _scales(name)) in weights
    }
    # Behind axes of widths and of groups.
    exercise = {
        "bits": np.asarray(bits),
        "names": np.asarray(list(scales)),
        "outputs": np.asarray([scale.ndim - 2 for scale in scales.values()]),
        **{name: np.asarray(weights[name]) for name in scales},
    }
    with tempfile.TemporaryDirectory() as folder:
        given, results = Path(folder) / "weights.npz", Path(folder) / "rounded.npz"
        np.savez(given, allow_pickle=False, **exercise)
        peer = Path(__file__).with_name("precision_qwix_peer.py")
        line = [str(environment()), str(peer), str(given), str(results)]
        subprocess.run(line, check=True)
        with np.load(results) as file:
            rounded = dict(file)
    return {
        width: weights | {name: rounded[f"{width}/{name}"] for name in scales}
        for width in bits
    }


def _scales(name: str) -> str:
    return f"{name}{SUFFIX}.log_scale"


def environment() -> Path:
    """Returns the interpreter of an environment with Qwix, built if there is none.

    Raises:
        SystemExit: If it cannot be built.
    """
    needs = "Building it takes uv and a network; without --qwix it is not needed."
    return environments.environment("Qwix", package="qwix", version=QWIX, needs=needs)
