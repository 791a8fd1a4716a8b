"""Exported networks of few bits: integers in small files, which are checked."""

import dataclasses
import importlib.machinery
import json
import re
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from kernels.quantization.scheme import Scheme
from kernels.quantization.sizes import weight_bytes
from nas import export, export_checks
from nas.data import Digits, StdlibText
from nas.errors import RunError, UsageError
from nas.experiment import Experiment, Search
from nas.export import export_subnet, load_subnet
from nas.finetuning import FineTune, Retrain
from nas.front import Member
from supernets.decoder.spec import Decoder
from supernets.latency import compile_all
from supernets.quantization.plain_checks import rounds_activations
from supernets.quantization.precision import Precision
from supernets.vision.spec import VisionTransformer
from supernets.weights import flat_weights
from tests.nas.test_export import source_of, symbolic_sizes

pytestmark = pytest.mark.slow

SIZES = {"width": (8, 16), "heads": (1, 2), "ffn": (8, 16), "depth": (1, 2)}
DATA = StdlibText(tokens=16)
ROUNDED = Decoder(
    **SIZES,
    head_dim=4,
    precision=Precision(weights=(4, 8, 16), activations=(8,), symmetric=False),
)
STORED = Decoder(
    **SIZES, head_dim=4, precision=Precision(weights=(2, 4), mechanism="nested")
)
VISION = VisionTransformer(
    **SIZES,
    head_dim=4,
    image=(8, 8, 1),
    patch=4,
    precision=Precision(weights=(4, 16), activations=(8, 16)),
)


def member_of(model, **choices):
    """The largest subnet, but for some choices of layers."""
    space = model.space()
    genotype = space.largest.copy()
    for name, genes in choices.items():
        genotype[space.slices[name]] = genes
    return Member(space.decode(genotype), {"loss": 2.0}, {}, "for a test")


def scaled_source_of(model, data=DATA):
    """A supernet with random weights, and steps small enough for them to matter."""
    source = source_of(model, data)
    for path, parameter in nnx.to_flat_state(nnx.state(source.supernet, nnx.Param)):
        if path[-1] == "log_scale":
            parameter[...] -= 3.0
    return source


def exported_to(folder, model, data=DATA, **choices):
    source, member = scaled_source_of(model, data), member_of(model, **choices)
    with symbolic_sizes():
        export_subnet(source, member, folder)
    return json.loads((folder / "verification.json").read_text())


@pytest.fixture(scope="module")
def rounded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("subnets") / "rounded"
    return folder, exported_to(folder, ROUNDED, weight_bits=(0, 2))


def test_files_hold_integers_and_say_so(rounded):
    folder, _ = rounded
    weights = load_file(folder / "model.safetensors")
    kinds = {name: str(weight.dtype) for name, weight in weights.items()}
    assert kinds["embedding.codes"] == "uint8"
    assert kinds["blocks.0.attention.query.codes"] == "uint8"
    assert kinds["blocks.0.attention.query.zero_point"] == "int8"
    assert kinds["blocks.0.attention.input_rounding.scale"] == "float32"
    assert weights["blocks.0.attention.input_rounding.scale"].shape == ()
    assert kinds["blocks.1.attention.query.kernel"] == "bfloat16"
    stored = json.loads((folder / "arch.json").read_text())
    assert stored["arch"]["weight_bits"] == [4, 16]
    precision = stored["network"]["precision"]
    assert precision["weight_bits"] == [4, 16]
    assert precision["activation_bits"] == [8, 8]
    assert not precision["symmetric"]


def test_a_loaded_network_has_integers_and_runs_from_its_program(rounded):
    folder, _ = rounded
    network = load_subnet(folder)
    assert rounds_activations(network)
    assert network.blocks[0].attention.query.codes.dtype == np.uint8
    weights = load_file(folder / "model.safetensors")
    stored = bytearray((folder / "model.stablehlo").read_bytes())
    program = jax.export.deserialize(stored)
    for shape in ((1, 5), (3, 9)):
        tokens = np.random.default_rng(0).integers(0, 256, shape).astype(np.int32)
        expected = export_checks.logits_of(network, tokens)
        given = export_checks.run_once(program.call, weights, tokens)
        np.testing.assert_allclose(given, expected, atol=1e-5)


def test_verification_says_how_rounded_activations_were_compared(rounded):
    _, verification = rounded
    assert verification["tolerance"] == 1e-5
    assert "activations are rounded" in verification["rounding"]
    check = verification["files"]["model.safetensors"]
    assert check["verified"]
    assert check["largest_difference"] <= 1e-5 * check["largest_logit"]
    assert check["largest_product_difference"] <= 1e-5
    assert check["in_integers"] >= 0
    assert verification["files"]["model.stablehlo"]["verified"]


def test_without_rounded_activations_logits_are_the_supernets(tmp_path):
    verification = exported_to(tmp_path / "subnet", STORED, weight_bits=(0, 1))
    assert verification["tolerance"] == 1e-5
    assert "rounding" not in verification
    for check in verification["files"].values():
        assert check["largest_difference"] <= 1e-5 * check["largest_logit"]


def test_a_classifier_of_few_bits_is_exported_too(tmp_path):
    verification = exported_to(
        tmp_path / "subnet", VISION, Digits(), weight_bits=(0, 1)
    )
    assert all(check["verified"] for check in verification["files"].values())


def test_an_error_in_a_product_is_found(rounded, monkeypatch):
    network, logits = load_subnet(rounded[0]), np.ones((2, 3), np.float32)
    monkeypatch.setattr(export_checks, "logits_of", lambda *_: logits)
    for difference, verified in ((1e-6, True), (0.1, False), (np.nan, False)):
        monkeypatch.setattr(
            export_checks,
            "run_once",
            lambda *_, difference=difference: np.float32(difference),
        )
        # Its own logits may differ: a sum on the edge of two codes may take either.
        found = export_checks._in_floats(network, logits, 2.0 * logits, logits)
        assert found["verified"] == verified
        assert found["in_integers"] == 1.0


def test_a_tampered_scale_of_activations_is_found(tmp_path, monkeypatch):
    def tamper(weights, path):
        name = "blocks.0.feed_forward.input_rounding.scale"
        wrong = np.asarray(weights[name] * np.float32(1.5))
        save_file(weights | {name: wrong}, path)

    source, member = scaled_source_of(ROUNDED), member_of(ROUNDED, weight_bits=(0, 2))
    monkeypatch.setattr(export, "save_file", tamper)
    with symbolic_sizes(), pytest.raises(RunError, match="does not give"):
        export_subnet(source, member, tmp_path / "subnet")


def test_weights_of_another_type_or_other_bits_are_refused(rounded, tmp_path):
    folder, _ = rounded
    arch = json.loads((folder / "arch.json").read_text())
    (tmp_path / "arch.json").write_text(json.dumps(arch))
    weights = load_file(folder / "model.safetensors")
    name = "blocks.0.attention.query.codes"
    wrong = weights | {name: weights[name].astype(np.float32)}
    save_file(wrong, tmp_path / "model.safetensors")
    with pytest.raises(UsageError, match=rf"'{name}' is float32, not uint8"):
        load_subnet(tmp_path)
    save_file(weights, tmp_path / "model.safetensors")
    for field, bits, told in (
        ("weight_bits", [8, 16], r"codes' has shape \(64,\), expected \(128,\)"),
        ("weight_bits", [4], "weights of 1 layers and activations of 2"),
        ("activation_bits", [8, 12], "codes cannot have 12 bits"),
    ):
        network = json.loads(json.dumps(arch["network"]))
        network["precision"][field] = bits
        (tmp_path / "arch.json").write_text(json.dumps({"network": network}))
        with pytest.raises(UsageError, match=rf"holds no exported subnet .*{told}"):
            load_subnet(tmp_path)


def test_an_export_from_before_there_were_bits_still_loads(tmp_path):
    model = dataclasses.replace(STORED, precision=None)
    source, member = scaled_source_of(model), member_of(model)
    network = source.network(member)
    weights = {name: np.asarray(w) for name, w in flat_weights(network).items()}
    save_file(weights, tmp_path / "model.safetensors")
    config = dataclasses.asdict(model.plain_config(member.arch))
    del config["precision"]
    config["type"] = "supernets.decoder.plain:PlainDecoderConfig"
    (tmp_path / "arch.json").write_text(json.dumps({"network": config}))
    tokens = np.arange(8, dtype=np.int32)[None]
    given = export_checks.logits_of(load_subnet(tmp_path), tokens)
    np.testing.assert_array_equal(given, export_checks.logits_of(network, tokens))


class NoSuchOperation(Exception):
    """What an exporter may raise."""


@pytest.fixture
def helpless_onnx(monkeypatch):
    """An exporter that lacks an operation."""

    def to_onnx(*_, **__):
        raise NoSuchOperation("no unpacking")

    for name in ("jax2onnx", "onnx"):
        fake = types.ModuleType(name)
        fake.__spec__ = importlib.machinery.ModuleSpec(name, None)
        fake.to_onnx = to_onnx
        monkeypatch.setitem(sys.modules, name, fake)
    monkeypatch.setattr(export, "verify", lambda *_: {})


@pytest.mark.usefixtures("helpless_onnx")
@pytest.mark.parametrize(
    ("model", "told"),
    [(STORED, "cannot express .* no unpacking"), (ROUNDED, "activations are rounded")],
    ids=["stored", "rounded"],
)
def test_what_cannot_be_written_for_onnx_is_told(tmp_path, model, told):
    verification = exported_to(tmp_path / "subnet", model)
    (missing,) = verification["not_written"]
    assert re.match(rf"model\.onnx: .*{told}", missing)
    assert not (tmp_path / "subnet" / "model.onnx").exists()


@pytest.mark.usefixtures("helpless_onnx")
def test_a_network_of_floats_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(NoSuchOperation):
        exported_to(tmp_path / "subnet", dataclasses.replace(STORED, precision=None))


LARGER = {"width": (64, 128), "heads": (2, 4), "ffn": (128, 512), "depth": (1, 2)}


@pytest.mark.parametrize(
    "precision",
    [
        Precision(weights=(2, 4)),
        Precision(
            weights=(2, 4),
            activations=(8,),
            granularity="group",
            group_size=32,
            symmetric=False,
            outer=4,
        ),
        Precision(weights=(2, 4), granularity="group", group_size=32, adapters=2),
    ],
    ids=["channels", "groups", "adapters"],
)
def test_a_file_is_as_small_as_the_arithmetic_says(tmp_path, precision):
    model = Decoder(**LARGER, head_dim=32, precision=precision)
    network = scaled_source_of(model).network(member_of(model, weight_bits=(0, 1)))
    path = tmp_path / "model.safetensors"
    save_file({n: np.asarray(w) for n, w in flat_weights(network).items()}, path)
    layers = dataclasses.replace(precision.schemes[0], widths=(2, 4))
    shapes = np.asarray([(128, 128)] * 4 + [(128, 512)] * 2 + [(512, 128)])
    stored = sum(
        weight_bytes(*shapes.T, bits, layers, offsets=precision.adapters > 0).sum()
        for bits in (2, 4)
    )
    outer = Scheme(widths=(precision.outer,), symmetric=precision.symmetric)
    stored += weight_bytes(128, 256, precision.outer, outer)
    norms = 4 * 128 * 5
    assert abs(path.stat().st_size / (stored + norms) - 1) < 0.02


def test_latency_is_measured_of_networks_with_integers():
    network = scaled_source_of(ROUNDED).network(member_of(ROUNDED, weight_bits=(0, 2)))
    tokens = jnp.zeros((1, 16), jnp.int32)
    told = []
    (program,) = compile_all([network], tokens, on_compiled=told.append, threads=1)
    assert program().shape == (1, 16, 256)
    assert told == [1]


@pytest.mark.parametrize(
    ("field", "spec"), [("finetune", FineTune()), ("retrain", Retrain())]
)
def test_integers_are_not_trained(field, spec):
    search = Search(**{field: spec})
    Experiment(model=dataclasses.replace(STORED, precision=None), search=search)
    with pytest.raises(ValueError, match=rf"leave search\.{field} out"):
        Experiment(model=STORED, search=search)
