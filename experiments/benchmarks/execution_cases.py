"""Single subnets, forward and training: one program for all against one for each."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, PyTree

from experiments.benchmarks.execution_rounds import (
    Program,
    Run,
    Samples,
    against,
    alternate,
    median,
)
from kernels.extents import Execution
from search.space import Genotype, Genotypes
from supernets.decoder.spec import Decoder
from supernets.execution import run_subnet
from supernets.losses.entropy import cross_entropy
from supernets.lowering import Extents, fixed_extents
from supernets.weights import Params

Kind = Literal["forward", "training"]
KINDS: tuple[Kind, ...] = ("forward", "training")

EXECUTIONS: tuple[Execution, ...] = ("masked", "switched")
FIXED = "fixed"

RANDOM = 3
"""Random subnets beside the largest, the middle and the smallest."""

SEED = 4
"""Of the random subnets; in the decoders that are measured they differ in depth."""

Tokens = Int[Array, "batch tokens"]
Logits = Float[Array, "batch tokens vocabulary"]
Function = Callable[[Extents, Params, Tokens, Tokens], PyTree]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """A supernet that is measured.

    Attributes:
        decoder: Its sizes.
        middle: Which choices its middle subnet makes, by name.
        batch: Sequences of the input.
        tokens: Their length.
    """

    decoder: Decoder
    middle: Mapping[str, tuple[int, ...]]
    batch: int
    tokens: int

    def subnets(self) -> dict[str, Genotype]:
        """Returns the subnets that are timed, the same in every run."""
        space = self.decoder.space()
        names = ["depth", *(choice.name for choice in space.choices)]
        genes = [self.middle[name] for name in names]
        middle = np.concatenate(genes).astype(np.int32)
        drawn = space.sample(RANDOM, np.random.default_rng(SEED))
        return {
            "largest": space.largest,
            "middle": space.canonical(middle[None])[0],
            "smallest": space.smallest,
            **{f"random {n}": genotype for n, genotype in enumerate(drawn, start=1)},
        }

    def costs(self, genotype: Genotype) -> dict[str, float]:
        """Returns the parameters of a subnet and its multiply-accumulates."""
        found = self._costs(genotype[None])
        return {name: float(found[name][0]) for name in ("params", "macs")}

    def macs(self, genotypes: Genotypes) -> Float[np.ndarray, " population"]:
        """Returns the multiply-accumulates of subnets, by which policies draw them."""
        return self._costs(genotypes)["macs"]

    def _costs(
        self, genotypes: Genotypes
    ) -> dict[str, Float[np.ndarray, " population"]]:
        example = (self.tokens,)
        return self.decoder.costs(genotypes, batch=self.batch, example=example)


class Supernet:
    """A supernet with weights and data, and its programs.

    Args:
        subject: What it is.
        dtype: The type of its weights, in which it computes.
    """

    def __init__(self, subject: Subject, dtype: str = "float32") -> None:
        self.subject = subject
        self.space = subject.decoder.space()
        self.network = subject.decoder.build(rngs=nnx.Rngs(0))
        self.graph, params = nnx.split(self.network, nnx.Param)
        cast = functools.partial(jax.lax.convert_element_type, new_dtype=dtype)
        self.params: Params = jax.tree.map(cast, params)
        rng = np.random.default_rng(0)
        shape = (subject.batch, subject.tokens + 1)
        text = rng.integers(subject.decoder.vocabulary, size=shape, dtype=np.int32)
        self.inputs, self.targets = jnp.asarray(text[:, :-1]), jnp.asarray(text[:, 1:])
        self.operands = (self.params, self.inputs, self.targets)

    def predict(self, extents: Extents, params: Params, inputs: Tokens) -> Logits:
        """Returns logits in float32, which losses want whatever computed them."""
        logits = nnx.merge(self.graph, params)(inputs, extents)
        return logits.astype(jnp.float32)

    def function(self, kind: Kind) -> Function:
        """Returns the logits of a subnet, or its loss and gradients."""

        def forward(
            extents: Extents, params: Params, inputs: Tokens, targets: Tokens
        ) -> Logits:
            del targets
            return self.predict(extents, params, inputs)

        def training(
            extents: Extents, params: Params, inputs: Tokens, targets: Tokens
        ) -> tuple[Array, Params]:
            def loss(params: Params) -> Float[Array, ""]:
                return cross_entropy(self.predict(extents, params, inputs), targets)

            return jax.value_and_grad(loss)(params)

        return {"forward": forward, "training": training}[kind]

    def fixed(self, kind: Kind, genotype: Genotype) -> Program:
        """Compiles one subnet."""
        function, extents = self.function(kind), fixed_extents(self.space, genotype)

        def run(*operands: PyTree) -> PyTree:
            return function(extents, *operands)

        return Program.of(run, *self.operands)

    def traced(self, kind: Kind, execution: Execution) -> Program:
        """Compiles the one program that runs every subnet."""
        function = self.function(kind)

        def run(genotype: Array, *operands: PyTree) -> PyTree:
            return run_subnet(
                self.space, genotype, function, *operands, execution=execution
            )

        return Program.of(run, jnp.asarray(self.space.largest), *self.operands)


def measure_subnets(
    supernet: Supernet,
    kind: Kind,
    subnets: Mapping[str, Genotype],
    *,
    rounds: int,
) -> dict[str, Any]:
    """Times subnets in every way.

    Args:
        supernet: The supernet.
        kind: What is run of each.
        subnets: Which, by name.
        rounds: Timed runs of each.

    Returns:
        The programs that serve all subnets, and a row for each subnet with its own.
    """
    shared = {name: supernet.traced(kind, name) for name in EXECUTIONS}
    own = {name: supernet.fixed(kind, subnet) for name, subnet in subnets.items()}
    runs: dict[str, dict[str, Run]] = {}
    for name, genotype in subnets.items():
        operands = (jnp.asarray(genotype), *supernet.operands)
        runs[name] = {n: program.bound(*operands) for n, program in shared.items()}
        runs[name][FIXED] = own[name].bound(*supernet.operands)
    samples = alternate(runs, rounds=rounds, label=kind)
    return {
        "programs": {name: program.to_json() for name, program in shared.items()},
        "rows": [_row(name, samples[name], own[name]) for name in subnets],
    }


def _row(name: str, samples: Samples, own: Program) -> dict[str, Any]:
    fixed = samples[FIXED]
    return {
        "subnet": name,
        FIXED: {"ms": median(fixed), **own.to_json()},
        **{way: against(samples[way], fixed) for way in EXECUTIONS},
    }
