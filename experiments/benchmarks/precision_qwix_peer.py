"""The side of Qwix: rounds matrices by its post-training quantisation.

It runs in an environment of its own, and so imports only NumPy, JAX and Qwix.
"""

import sys
from pathlib import Path

import numpy as np
import qwix


def main() -> None:
    """Reads weights, and writes them as integers of each width stand for them.

    The file of weights has an array ``bits`` beside them; of each weight, its last axes
    are those of outputs, which have a scale each, and ``outputs`` says how many.
    """
    given, results = map(Path, sys.argv[1:])
    with np.load(given) as file:
        arrays = dict(file)
    found = {}
    for bits in arrays.pop("bits").tolist():
        for name, outputs in zip(
            arrays["names"].tolist(), arrays["outputs"].tolist(), strict=True
        ):
            weight = arrays[name]
            axes = range(weight.ndim - outputs, weight.ndim)
            rounded = qwix.quantize(weight, f"int{bits}", channelwise_axes=tuple(axes))
            found[f"{bits}/{name}"] = np.asarray(qwix.dequantize(rounded))
    np.savez(results, allow_pickle=False, **found)


if __name__ == "__main__":
    main()
