"""Our side of the comparison with PyTorch, and the exercise that both sides solve.

`against_pytorch` starts it with a folder that holds ``decoder.json``. It adds
``exercise.json`` (subnets, hyper-parameters) and ``exercise.npz`` (weights, tokens).
"""

import dataclasses
import json
import os
import platform
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from experiments.benchmarks.peer import (
    PAIRS,
    Case,
    Program,
    UnavailableError,
    Values,
    serve,
)
from nas.allocator import keep_memory
from search.space import Genotype, Genotypes
from supernets.decoder.elastic import ElasticDecoder
from supernets.decoder.extraction import plain_config
from supernets.decoder.spec import Decoder
from supernets.losses.distillation import Distillation
from supernets.losses.entropy import cross_entropy
from supernets.losses.loss import Batch, Outputs
from supernets.losses.losses import Losses
from supernets.lowering import Extents, fixed_extents
from supernets.optimizers.adamw import AdamW
from supernets.policies.policy import Moment, Subnets
from supernets.policies.sandwich import Sandwich
from supernets.regularization import Noise
from supernets.training import (
    StepMetrics,
    TrainState,
    initial_state,
    make_train_step,
)
from supernets.weights import Params, flat_weights, host_copy, set_weights

BATCH, TOKENS = 8, 128
STEPS = 400
"""Length of the learning-rate schedule, longer than a measurement."""

SHARE = 0.5
"""Share of the largest subnet's predictions in what the others learn from."""

PACKAGES = ("nas-jax", "jax", "jaxlib", "flax", "optax", "numpy")

Tokens = Int[Array, "batch tokens"]


class InBfloat16(nnx.Module):
    """A network whose float32 parameters are rounded to bfloat16 in every call."""

    def __init__(self, network: ElasticDecoder) -> None:
        self.network = network

    def __call__(
        self, tokens: Tokens, extents: Extents
    ) -> Float[Array, "batch tokens vocabulary"]:
        """Computes in bfloat16; the logits are float32 again, for the loss."""
        return self._rounded()(tokens, extents).astype(jnp.float32)

    def outputs(
        self, inputs: Tokens, extents: Extents, *, noise: Noise | None = None
    ) -> Outputs:
        """Returns float32 logits, and the features that they are read from."""
        return _scored(self._rounded().outputs(inputs, extents, noise=noise))

    def exits(self, inputs: Tokens, extents: Extents) -> tuple[Outputs, ...]:
        """Returns the outputs after each choice of depth, fewest layers first."""
        return tuple(map(_scored, self._rounded().exits(inputs, extents)))

    def _rounded(self) -> ElasticDecoder:
        graph, params = nnx.split(self.network)
        return nnx.merge(graph, jax.tree.map(_rounded, params))


class JaxSide:
    """Builds the programs of our side.

    Args:
        decoder: The supernet's sizes.
    """

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.space = decoder.space()
        self.sandwich = Sandwich()
        self.network = decoder.build(rngs=nnx.Rngs(0))
        rng = np.random.default_rng(0)
        weights = host_copy(flat_weights(self.network))
        # Scales of one, as they start, would not tell whether both sides apply them.
        for name in [name for name in weights if name.endswith("scale")]:
            noise = rng.normal(size=weights[name].shape)
            weights[name] = (1 + 0.1 * noise).astype(np.float32)
        set_weights(self.network, {n: jnp.asarray(w) for n, w in weights.items()})
        shape = (BATCH, TOKENS + 1)
        text = rng.integers(decoder.vocabulary, size=shape, dtype=np.int32)
        self.inputs, self.targets = jnp.asarray(text[:, :-1]), jnp.asarray(text[:, 1:])
        self.landmarks: dict[str, Genotype] = {
            "largest": self.space.largest,
            "middle": self.space.middle,
            "smallest": self.space.smallest,
        }
        subnets = Subnets(self.space, self._macs)
        self.draws = {
            name: self.sandwich.draw(subnets, Moment(0, number, STEPS))
            for number, name in enumerate(PAIRS)
        }
        self._sandwiches: dict[str, Callable[[str], StepMetrics]] = {}

    def write_exercise(self, folder: Path) -> None:
        """Writes all that the other side needs to compute the same."""
        chosen = {name: [genotype] for name, genotype in self.landmarks.items()}
        chosen |= {n: list(draw.genotypes[2:, 0]) for n, draw in self.draws.items()}
        exercise = {
            "head_dim": self.decoder.head_dim,
            "subnets": {
                name: [self._sizes(genotype) for genotype in genotypes]
                for name, genotypes in chosen.items()
            },
            "distillation": SHARE,
            "optimizer": dataclasses.asdict(AdamW()),
            "steps": STEPS,
        }
        (folder / "exercise.json").write_text(json.dumps(exercise))
        arrays = host_copy(flat_weights(self.network))
        arrays |= host_copy({"inputs": self.inputs, "targets": self.targets})
        np.savez(folder / "exercise.npz", allow_pickle=False, **arrays)

    def build(self, case: Case) -> Program[Any]:
        """Readies a case.

        Raises:
            UnavailableError: If an operation does not run in the case's precision.
        """
        builders = {
            "forward": self._forward,
            "training": self._training,
            "sandwich": self._sandwich,
        }
        try:
            return builders[case.kind](case)
        except jax.dtypes.TypePromotionError as error:
            raise UnavailableError(str(error).partition(". ")[0]) from error

    def _forward(self, case: Case) -> Program[Array]:
        predict, params = self._prediction(case)
        forward = jax.jit(predict).lower(params, self.inputs).compile()
        return Program(
            lambda: jax.block_until_ready(forward(params, self.inputs)),
            lambda logits: {"logits": np.asarray(logits)},
        )

    def _training(self, case: Case) -> Program[tuple[Array, Params]]:
        predict, params = self._prediction(case)

        def loss(params: Params, inputs: Tokens, targets: Tokens) -> Float[Array, ""]:
            return cross_entropy(predict(params, inputs), targets)

        gradient = jax.jit(jax.value_and_grad(loss))
        program = gradient.lower(params, self.inputs, self.targets).compile()

        def values(result: tuple[Array, Params]) -> Values:
            loss, gradients = result
            return {"loss": np.asarray(loss)} | {
                # The name of the module that rounds is no part of a weight's name.
                ".".join(map(str, path)).removeprefix("network."): leaf[...]
                for path, leaf in nnx.to_flat_state(jax.device_get(gradients))
            }

        return Program(
            lambda: jax.block_until_ready(program(params, self.inputs, self.targets)),
            values,
        )

    def _sandwich(self, case: Case) -> Program[StepMetrics]:
        if case.precision not in self._sandwiches:
            self._sandwiches[case.precision] = self._trainer(case)
        step = self._sandwiches[case.precision]
        return Program(
            lambda: step(case.subnet),
            lambda metrics: {
                "losses": np.asarray(metrics.losses),
                "gradient_norm": np.asarray(metrics.gradient_norm),
            },
        )

    def _trainer(self, case: Case) -> Callable[[str], StepMetrics]:
        """Returns a step on a pair; the steps of a precision share their state."""
        network = self._network(case)
        optimizer = AdamW().transform(STEPS)
        step = make_train_step(
            network,
            self.space,
            optimizer,
            self.sandwich.slots(self.space),
            losses=Losses(taught=Distillation(share=SHARE)),
        )
        # The step may give away what it is handed.
        state = jax.tree.map(jnp.copy, initial_state(network, optimizer))
        batch = Batch(self.inputs, self.targets)

        def first(state: TrainState) -> tuple[TrainState, StepMetrics]:
            return step(state, batch, self.draws[PAIRS[0]], 0)

        # Traced here, so that a case that cannot run is known before any does.
        jax.eval_shape(first, state)

        def run(pair: str) -> StepMetrics:
            nonlocal state
            state, metrics = step(state, batch, self.draws[pair], 0)
            return jax.block_until_ready((state, metrics))[1]

        return run

    def _prediction(self, case: Case) -> tuple[Callable[..., Array], Params]:
        network = self._network(case)
        graph, params = nnx.split(network)
        extents = fixed_extents(self.space, self.landmarks[case.subnet])

        def predict(params: Params, tokens: Tokens) -> Array:
            return nnx.merge(graph, params)(tokens, extents)

        return predict, params

    def _network(self, case: Case) -> nnx.Module:
        return self.network if case.precision == "float32" else InBfloat16(self.network)

    def _macs(self, genotypes: Genotypes) -> Float[np.ndarray, " population"]:
        return self.decoder.costs(genotypes, batch=BATCH, example=(TOKENS,))["macs"]

    def _sizes(self, genotype: Genotype) -> dict[str, object]:
        architecture = self.space.decode(genotype)
        config = plain_config(self.decoder, architecture)
        return {
            "layers": architecture.layers,
            "width": config.width,
            "heads": config.heads,
            "ffn": config.ffn,
        }


def _rounded(weight: Float[Array, "..."]) -> Array:
    return weight.astype(jnp.bfloat16)


def _float32(logits: Float[Array, "..."]) -> Array:
    return logits.astype(jnp.float32)


def _scored(outputs: Outputs) -> Outputs:
    return outputs._replace(logits=jax.tree.map(_float32, outputs.logits))


def about() -> dict[str, object]:
    """Returns what this side runs on."""
    return {
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "processors": len(os.sched_getaffinity(0)),
    }


def main(folder: Path) -> None:
    """Writes the exercise, then obeys."""
    keep_memory()
    # Nothing may turn bfloat16 into float32 behind our back.
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    stored = json.loads((folder / "decoder.json").read_text())
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in stored.items()
    }
    side = JaxSide(Decoder(**fields))
    side.write_exercise(folder)
    serve(about(), side.build)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
