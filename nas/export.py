"""Export: an extracted subnet as files that need nothing of this project, verified.

``model.safetensors``  the weights, by name
``arch.json``          the architecture and the plain network's sizes
``model.stablehlo``    the program (`jax.export`), for any batch, on CPU, CUDA and TPU
``model.onnx``         the same for ONNX runtimes, where the ``onnx`` extra is installed
``verification.json``  what each gave against the supernet
"""

import dataclasses
import functools
import importlib.util
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from nas.errors import RunError, UsageError
from nas.experiment import Experiment
from nas.front import Member
from nas.rundir import write_json
from search.space import Genotype
from supernets.decoder.elastic import ElasticDecoder
from supernets.decoder.extraction import extract, plain_config
from supernets.decoder.plain import PlainDecoder, PlainDecoderConfig
from supernets.lowering import indexed_extents
from supernets.weights import Params, flat_weights, host_copy, set_weights

TOLERANCE = 1e-4
"""Largest difference of a logit, relative to the largest logit, that verifies."""

PLATFORMS = ("cpu", "cuda", "tpu")

VERIFIED_WINDOWS = 2

HASTY = {"xla_backend_optimization_level": 0}
"""Compiler options for a program that runs once."""

ONNX_ERRORS_ONLY = 3

Tokens = Int[np.ndarray, "batch tokens"]
Logits = Float[Array, "batch tokens vocabulary"]


@dataclasses.dataclass(frozen=True)
class Source:
    """The supernet that subnets are cut from, and its outputs to verify them against.

    Attributes:
        experiment: The run it belongs to.
        supernet: With trained weights.
    """

    experiment: Experiment
    supernet: ElasticDecoder

    @functools.cached_property
    def tokens(self) -> Tokens:
        """The input that outputs are compared on."""
        return self.experiment.data.fixed("test", VERIFIED_WINDOWS)[0]

    def logits(self, genotype: Genotype) -> np.ndarray:
        """Returns the supernet's logits at an architecture."""
        return np.asarray(self._run(self.supernet, jnp.asarray(genotype)))

    @functools.cached_property
    def _run(self) -> Callable[[ElasticDecoder, Array], Logits]:
        space = self.experiment.model.space()
        tokens = jnp.asarray(self.tokens)

        def run(supernet: ElasticDecoder, genotype: Array) -> Logits:
            return supernet(tokens, indexed_extents(space, genotype))

        return nnx.jit(run)


def export_subnet(source: Source, member: Member, target: Path) -> None:
    """Writes one subnet's folder; it appears when it is complete and verified.

    Raises:
        RunError: If a written file does not give the supernet's outputs.
    """
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    experiment, tokens = source.experiment, source.tokens
    network = extract(source.supernet, experiment.model, member.arch)
    _write(experiment, network, member, partial)
    genotype = experiment.model.space().encode(member.arch)
    checks = _verify(partial, tokens, source.logits(genotype))
    if failed := {name: c for name, c in checks.items() if not c["verified"]}:
        raise RunError(
            f"subnet {member.id} does not give the supernet's outputs: {failed}; "
            f"its files are kept in {partial}"
        )
    write_json(
        partial / "verification.json",
        {
            "against": "the supernet at this architecture, on the test split",
            "inputs": f"{tokens.shape[0]} x {tokens.shape[1]} tokens",
            "tolerance": TOLERANCE,
            "files": checks,
            "not_written": [] if "model.onnx" in checks else [_NO_ONNX],
        },
    )
    shutil.rmtree(target, ignore_errors=True)
    partial.replace(target)


_NO_ONNX = "model.onnx: install the onnx extra (uv sync --extra onnx)"


def load_subnet(folder: Path | str) -> PlainDecoder:
    """Returns an exported subnet as a plain `flax.nnx` module.

    Raises:
        UsageError: If the folder holds no exported subnet.
    """
    folder = Path(folder)
    try:
        stored = json.loads((folder / "arch.json").read_text())["network"]
        config = PlainDecoderConfig.from_json(stored)
        weights = load_file(folder / "model.safetensors")
        network = nnx.eval_shape(lambda: PlainDecoder(config, rngs=nnx.Rngs(0)))
        set_weights(network, {name: jnp.asarray(w) for name, w in weights.items()})
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise UsageError(f"{folder} holds no exported subnet ({error})") from error
    return network


def _write(
    experiment: Experiment, network: PlainDecoder, member: Member, folder: Path
) -> None:
    weights = host_copy(flat_weights(network))
    save_file(weights, folder / "model.safetensors")
    write_json(
        folder / "arch.json",
        {
            "id": member.id,
            "arch": member.arch.to_json(),
            "network": dataclasses.asdict(plain_config(experiment.model, member.arch)),
            "metrics": member.metrics,
        },
    )
    program = _program(network)
    batch, tokens = jax.export.symbolic_shape("batch, tokens")
    exported = jax.export.export(jax.jit(program), platforms=PLATFORMS)(
        {name: jax.ShapeDtypeStruct(w.shape, w.dtype) for name, w in weights.items()},
        jax.ShapeDtypeStruct((batch, tokens), jnp.int32),
    )
    (folder / "model.stablehlo").write_bytes(exported.serialize())
    if importlib.util.find_spec("jax2onnx") is not None:
        _write_onnx(network, experiment.data.tokens, folder / "model.onnx")


def _program(network: PlainDecoder) -> Any:  # noqa: ANN401 - a function of a pytree
    """Returns the network as a function of a flat dictionary of weights and tokens."""
    graph, state = nnx.split(network)
    names = list(flat_weights(network))
    paths = [path for path, _ in nnx.to_flat_state(state)]
    variables = dict(nnx.to_flat_state(state))

    def run(weights: Mapping[str, Array], tokens: Int[Array, "batch tokens"]) -> Logits:
        flat = (
            (p, variables[p].replace(weights[n]))
            for p, n in zip(paths, names, strict=True)
        )
        return nnx.merge(graph, nnx.from_flat_state(flat))(tokens)

    return run


def _write_onnx(network: PlainDecoder, tokens: int, path: Path) -> None:
    import jax2onnx
    import onnx

    # It warns of every shape that it leaves to be inferred.
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)
    model = jax2onnx.to_onnx(
        network, inputs=[jax.ShapeDtypeStruct(("batch", tokens), jnp.int32)]
    )
    onnx.save_model(model, path)


def _verify(
    folder: Path, tokens: Tokens, expected: np.ndarray
) -> dict[str, dict[str, object]]:
    """Loads every written form as a user would, runs it, and compares."""
    graph, params = nnx.split(load_subnet(folder))

    def run(params: Params, tokens: Int[Array, "batch tokens"]) -> Logits:
        return nnx.merge(graph, params)(tokens)

    outputs = {"model.safetensors": _run(run, params, jnp.asarray(tokens))}
    stored = bytearray((folder / "model.stablehlo").read_bytes())
    program = jax.export.deserialize(stored)
    weights = load_file(folder / "model.safetensors")
    outputs["model.stablehlo"] = _run(program.call, weights, tokens)
    if (folder / "model.onnx").exists():
        outputs["model.onnx"] = _run_onnx(folder / "model.onnx", tokens)
    scale = float(np.abs(expected).max())
    checks: dict[str, dict[str, object]] = {}
    for name, logits in outputs.items():
        difference = float(np.abs(logits - expected).max())
        checks[name] = {
            "largest_difference": difference,
            "largest_logit": scale,
            "verified": bool(difference <= TOLERANCE * scale),
        }
    return checks


def _run(function: Callable[..., Logits], *arguments: object) -> np.ndarray:
    """Runs a function once, compiled in a hurry: it is compared, not timed."""
    return np.asarray(jax.jit(function, compiler_options=HASTY)(*arguments))


def _run_onnx(path: Path, tokens: Tokens) -> np.ndarray:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = ONNX_ERRORS_ONLY
    session = onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return session.run(None, {name: tokens})[0]
