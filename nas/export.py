"""Export: an extracted subnet as files that need nothing of this project, verified.

``model.safetensors``  the weights, by name
``arch.json``          the architecture, and the plain network's type and sizes
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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, PyTree
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from nas.config import TYPE, tag_of, type_of
from nas.data.dataset import Dataset, in_words
from nas.errors import RunError, UsageError
from nas.experiment import Experiment
from nas.export_checks import (
    HASTY,
    ROUNDING,
    Logits,
    logits_of,
    run_once,
    tolerance_of,
    verify,
)
from nas.front import Member
from nas.rundir import write_json
from search.space import Genotype
from supernets.lowering import fixed_extents, indexed_extents
from supernets.model import PlainConfig
from supernets.network import Inputs
from supernets.quantization.plain_checks import holds_integers, rounds_activations
from supernets.weights import Params, flat_weights, host_copy, set_weights

PLATFORMS = ("cpu", "cuda", "tpu")

VERIFIED_EXAMPLES = 2

AGAINST = {"inherited": "the supernet", "finetuned": "the fine-tuned network"}
"""Whose outputs files must give."""


@dataclasses.dataclass(frozen=True)
class Source:
    """The supernet that subnets are cut from, and its outputs to verify them against.

    Attributes:
        experiment: The run it belongs to.
        supernet: With trained weights.
        finetuned: Where weights of fine-tuned subnets lie, by their names.
    """

    experiment: Experiment
    supernet: nnx.Module
    finetuned: Path | None = None

    def network(self, member: Member) -> nnx.Module:
        """Returns a subnet as it is exported.

        Raises:
            RunError: If it is to have fine-tuned weights, and they are damaged.
        """
        network = self.experiment.model.extract(self.supernet, member.arch)
        if member.weights == "finetuned" and self.finetuned is not None:
            path = self.finetuned / member.id / "model.safetensors"
            try:
                set_weights(network, load_file(path))
            except (OSError, ValueError, SafetensorError) as error:
                raise RunError(
                    f"{path} is damaged ({error}); remove its folder and "
                    "`finetune` from stages.json, and run the same command again"
                ) from error
        return network

    def expected(self, member: Member, network: nnx.Module) -> Logits:
        """Returns the logits that files must give: the supernet's, if it inherits."""
        if member.weights == "finetuned":
            return logits_of(network, self.inputs)
        genotype = self.experiment.model.space().encode(member.arch)
        if rounds_activations(network):
            return self._sliced(genotype)
        return self.logits(genotype)

    @functools.cached_property
    def inputs(self) -> np.ndarray:
        """The inputs that outputs are compared on."""
        return self.experiment.data.fixed("test", VERIFIED_EXAMPLES).inputs

    def logits(self, genotype: Genotype) -> Logits:
        """Returns the supernet's logits at an architecture."""
        logits = self._run(nnx.state(self.supernet), jnp.asarray(genotype))
        return jax.tree.map(np.asarray, logits)

    def _sliced(self, genotype: Genotype) -> Logits:
        """Returns the same, summed in the order of the subnet's own sizes."""
        graph, params = nnx.split(self.supernet)
        extents = fixed_extents(self.experiment.model.space(), genotype)

        def run(params: Params, inputs: Inputs) -> PyTree:
            return nnx.merge(graph, params)(inputs, extents)

        return run_once(run, params, jnp.asarray(self.inputs))

    @functools.cached_property
    def _run(self) -> Callable[[Params, Array], PyTree]:
        space, inputs = self.experiment.model.space(), jnp.asarray(self.inputs)
        graph = nnx.graphdef(self.supernet)

        def run(params: Params, genotype: Array) -> PyTree:
            supernet = nnx.merge(graph, params)
            # One body for all sizes compiles soonest, and few subnets run through it.
            return supernet(inputs, indexed_extents(space, genotype, "masked"))

        return jax.jit(run, compiler_options=HASTY)


def export_subnet(source: Source, member: Member, target: Path) -> None:
    """Writes one subnet's folder; it appears when it is complete and verified.

    Raises:
        RunError: If a written file does not give the supernet's outputs.
    """
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    experiment, inputs = source.experiment, source.inputs
    network = source.network(member)
    missing = _write(experiment, network, member, partial)
    checks = verify(
        partial, load_subnet(partial), inputs, source.expected(member, network)
    )
    whose = AGAINST[member.weights]
    if failed := {name: c for name, c in checks.items() if not c["verified"]}:
        raise RunError(
            f"subnet {member.id} does not give {whose}'s outputs: {failed}; "
            f"its files are kept in {partial}"
        )
    write_json(
        partial / "verification.json",
        {
            "against": f"{whose} at this architecture, on the test split",
            "inputs": in_words(len(inputs), experiment.data.example),
            "tolerance": tolerance_of(network),
            **({"rounding": ROUNDING} if rounds_activations(network) else {}),
            "files": checks,
            "not_written": missing,
        },
    )
    shutil.rmtree(target, ignore_errors=True)
    partial.replace(target)


_NO_ONNX = "model.onnx: install the onnx extra (uv sync --extra onnx)"

_NO_ROUNDED_ONNX = (
    "model.onnx: activations are rounded, so that a runtime that adds up in another "
    "order gives other logits, and nothing could be verified; use model.stablehlo"
)


def load_subnet(folder: Path | str) -> nnx.Module:
    """Returns an exported subnet as a plain `flax.nnx` module.

    It is a function of tokens or images, and gives logits as the supernet does.

    Raises:
        UsageError: If the folder holds no exported subnet.
    """
    folder = Path(folder)
    try:
        stored = json.loads((folder / "arch.json").read_text())["network"]
        config = _plain_config(dict(stored))
        weights = load_file(folder / "model.safetensors")
        network = nnx.eval_shape(lambda: config.build(rngs=nnx.Rngs(0)))
        _require_types(network, weights)
        set_weights(network, {name: jnp.asarray(w) for name, w in weights.items()})
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise UsageError(f"{folder} holds no exported subnet ({error})") from error
    return network


def _require_types(network: nnx.Module, weights: Mapping[str, np.ndarray]) -> None:
    """Refuses weights of other types: codes that are no bytes are none.

    Raises:
        ValueError: If a type is not that of the network.
    """
    for path, expected in nnx.to_flat_state(nnx.state(network, nnx.Param)):
        name = ".".join(map(str, path))
        if name in weights and weights[name].dtype != expected.dtype:
            raise ValueError(
                f"weight {name!r} is {weights[name].dtype}, not {expected.dtype}"
            )


def _plain_config(stored: dict[str, object]) -> PlainConfig:
    """Rebuilds the sizes of a plain network from JSON that names their type."""
    tag = str(stored.pop(TYPE))
    kind = type_of(tag)
    if not issubclass(kind, PlainConfig):
        raise TypeError(f"{tag} is not the sizes of a plain network")
    return kind.from_json(stored)


def _write(
    experiment: Experiment, network: nnx.Module, member: Member, folder: Path
) -> list[str]:
    """Writes the files, and returns which are not, and why."""
    weights = host_copy(flat_weights(network))
    save_file(weights, folder / "model.safetensors")
    config = experiment.model.plain_config(member.arch)
    write_json(
        folder / "arch.json",
        {
            "id": member.id,
            "arch": member.arch.to_json(),
            "network": {TYPE: tag_of(type(config)), **dataclasses.asdict(config)},
            "metrics": member.metrics,
            "weights": member.weights,
        },
    )
    program, data = _program(network), experiment.data
    exported = jax.export.export(jax.jit(program), platforms=PLATFORMS)(
        {name: jax.ShapeDtypeStruct(w.shape, w.dtype) for name, w in weights.items()},
        jax.ShapeDtypeStruct(_any_batch(data), data.dtype),
    )
    (folder / "model.stablehlo").write_bytes(exported.serialize())
    return _write_onnx(network, data, folder / "model.onnx")


def _any_batch(data: Dataset) -> Sequence[Any]:
    """Returns the shape of inputs with a symbolic batch, and symbolic tokens."""
    if len(data.example) == 1:
        return jax.export.symbolic_shape("batch, tokens")
    return (*jax.export.symbolic_shape("batch"), *data.example)


def _program(network: nnx.Module) -> Any:  # noqa: ANN401 - a function of a pytree
    """Returns the network as a function of a flat dictionary of weights and inputs."""
    graph, state = nnx.split(network)
    names = list(flat_weights(network))
    paths = [path for path, _ in nnx.to_flat_state(state)]
    variables = dict(nnx.to_flat_state(state))

    def run(weights: Mapping[str, Array], inputs: Inputs) -> PyTree:
        flat = (
            (p, variables[p].replace(weights[n]))
            for p, n in zip(paths, names, strict=True)
        )
        return nnx.merge(graph, nnx.from_flat_state(flat))(inputs)

    return run


def _write_onnx(network: nnx.Module, data: Dataset, path: Path) -> list[str]:
    """Writes the program for ONNX runtimes, or returns why not."""
    if importlib.util.find_spec("jax2onnx") is None:
        return [_NO_ONNX]
    if rounds_activations(network):
        return [_NO_ROUNDED_ONNX]
    import jax2onnx
    import onnx

    # It warns of every shape that it leaves to be inferred.
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)
    inputs = jax.ShapeDtypeStruct(("batch", *data.example), data.dtype)
    try:
        model = jax2onnx.to_onnx(network, inputs=[inputs])
    except Exception as error:
        if not holds_integers(network):
            raise
        # Of any kind: what it has no operation for, it meets in many places.
        return [f"model.onnx: jax2onnx cannot express stored codes: {error}"]
    onnx.save_model(model, path)
    return []
