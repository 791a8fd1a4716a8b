"""The execution benchmark, on a decoder that is as small as they come."""

import json

import jax
import numpy as np
import pytest

from experiments.benchmarks.execution import (
    MIDDLE,
    NARROW,
    WIDE,
    about,
    measure,
    readme_rows,
)
from experiments.benchmarks.execution_cases import (
    EXECUTIONS,
    KINDS,
    Subject,
    Supernet,
    measure_subnets,
)
from experiments.benchmarks.execution_figure import execution_figure
from experiments.benchmarks.execution_population import measure_population
from experiments.benchmarks.execution_rounds import Program, against, alternate
from experiments.benchmarks.execution_steps import PARTS, Trainer
from nas.report import drawing
from supernets.decoder.spec import Decoder
from tests.kernels.comparison import assert_close

TINY = Subject(
    decoder=Decoder(
        width=(8, 16),
        heads=(1, 2),
        ffn=(16, 32),
        depth=(1, 2),
        head_dim=8,
        gated=False,
        vocabulary=32,
    ),
    middle={"depth": (1,), "width": (0,), "heads": (0, 1), "ffn": (1, 0)},
    batch=2,
    tokens=8,
)


def way(ratio):
    return {"ms": 10.0 * ratio, "ratio": ratio, "quartiles": [ratio, 1.1 * ratio]}


def rows(names):
    own = {"ms": 10.0, "compile_seconds": 2.0, "temporary_mb": 1.0}
    return [
        {"subnet": n, "fixed": own, "masked": way(3.0), "switched": way(1.01)}
        for n in names
    ]
