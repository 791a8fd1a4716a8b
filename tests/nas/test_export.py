"""Exported subnets: files that run alone, checked before they appear."""

import contextlib
import dataclasses
import importlib.util
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from nas import export, export_checks
from nas.data import Digits, DigitTasks, StdlibText
from nas.errors import RunError, UsageError
from nas.experiment import Experiment
from nas.export import PLATFORMS, Source, export_subnet, load_subnet
from nas.front import Member
from nas.stages.report import loader
from supernets.decoder.spec import Decoder
from supernets.lowering import fixed_extents
from supernets.multitask.spec import MultiTask, Task
from supernets.vision.spec import VisionTransformer
from tests.kernels.comparison import quick_jit

GATED = Decoder(width=(8, 16), heads=(1, 2), ffn=(8, 16), depth=(1, 2), head_dim=4)
GROUPED = Decoder(
    width=(8, 16),
    heads=(2, 4),
    ffn=(8, 16),
    depth=(1, 2),
    depth_rule="free",
    head_dim=4,
    group=2,
    gated=False,
    norm="layer",
)
SIZES = {"width": (8, 16), "heads": (1, 2), "ffn": (8, 16), "depth": (1, 2)}
VISION = VisionTransformer(**SIZES, head_dim=4, image=(8, 8, 1), patch=4)
TASKS = MultiTask(
    **SIZES,
    head_dim=4,
    image=(12, 12, 1),
    patch=4,
    tasks=(
        Task(name="digit", classes=10, units=(4, 8)),
        Task(name="corner", classes=4, units=(0, 4)),
    ),
)

# Of the loader's ten lines, and another.
SHAPES = ((1, 17), (3, 12))


@contextlib.contextmanager
def symbolic_sizes():
    """Switches annotations off: a symbolic number of tokens is no ``int`` to them."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def source_of(model, data=StdlibText(tokens=16)):
    """A supernet with random weights, which NumPy draws faster than JAX compiles."""
    supernet = nnx.eval_shape(lambda: model.build(rngs=nnx.Rngs(0)))
    rng = np.random.default_rng(0)
    nnx.update(
        supernet,
        jax.tree.map(
            lambda leaf: jnp.asarray(rng.normal(0.1, 0.3, leaf.shape), leaf.dtype),
            nnx.state(supernet, nnx.Param),
        ),
    )
    return Source(Experiment(model=model, data=data), supernet)


def member_of(model):
    """A subnet that is neither the smallest nor the largest."""
    space = model.space()
    genotype = space.sample(1, np.random.default_rng(3))[0]
    metrics = {"loss": 2.0, "latency_ms": 1.5}
    return Member(space.decode(genotype), metrics, {"latency_ms": 1.4}, "for a test")


@dataclasses.dataclass(frozen=True)
class Exported:
    """A subnet where it was written, with the supernet's outputs for some tokens."""

    source: Source
    member: Member
    folder: object
    cases: tuple


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    source, member = source_of(GATED), member_of(GATED)
    folder = tmp_path_factory.mktemp("subnets") / member.id
    with symbolic_sizes():
        export_subnet(source, member, folder)
    space = GATED.space()
    extents = fixed_extents(space, space.encode(member.arch))

    graph, params = nnx.split(source.supernet)
    run = quick_jit(lambda params, tokens: nnx.merge(graph, params)(tokens, extents))
    cases = []
    for shape in SHAPES:
        tokens = np.random.default_rng(0).integers(0, 256, shape).astype(np.int32)
        cases.append((tokens, np.asarray(run(params, jnp.asarray(tokens)))))
    return Exported(source, member, folder, tuple(cases))


def test_an_export_is_weights_description_program_and_verification(exported):
    names = {"model.safetensors", "arch.json", "model.stablehlo", "verification.json"}
    verification = json.loads((exported.folder / "verification.json").read_text())
    if importlib.util.find_spec("jax2onnx") is None:
        assert "install the onnx extra" in verification["not_written"][0]
    else:
        names |= {"model.onnx"}
    assert {entry.name for entry in exported.folder.iterdir()} == names
    # Nothing is left beside it.
    assert list(exported.folder.parent.iterdir()) == [exported.folder]
    for check in verification["files"].values():
        assert check["verified"]
        assert check["largest_difference"] <= 1e-4 * check["largest_logit"]


def test_the_description_tells_architecture_sizes_and_metrics(exported):
    stored = json.loads((exported.folder / "arch.json").read_text())
    member = exported.member
    assert stored["id"] == member.id == exported.folder.name
    assert stored["arch"] == member.arch.to_json()
    assert stored["metrics"] == member.metrics
    assert stored["network"]["type"] == "supernets.decoder.plain:PlainDecoderConfig"
    assert stored["network"]["width"] == member.arch["width"]
    assert tuple(stored["network"]["heads"]) == member.arch["heads"]


def test_an_export_holds_exactly_the_weights_that_its_cost_counts(exported):
    weights = load_file(exported.folder / "model.safetensors")
    genotype = GATED.space().encode(exported.member.arch)
    params = GATED.costs(genotype[None], batch=1, example=(1,))["params"][0]
    assert sum(weight.size for weight in weights.values()) == params


def test_a_loaded_subnet_gives_the_supernets_logits(exported):
    network = load_subnet(exported.folder)
    run = nnx.jit(lambda network, tokens: network(tokens))
    for tokens, expected in exported.cases:
        logits = run(network, jnp.asarray(tokens))
        np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_the_program_gives_them_for_any_batch_and_length(exported):
    stored = bytearray((exported.folder / "model.stablehlo").read_bytes())
    program = jax.export.deserialize(stored)
    weights = load_file(exported.folder / "model.safetensors")
    assert set(program.platforms) == set(PLATFORMS)
    for tokens, expected in exported.cases:
        logits = program.call(weights, tokens)
        np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_ten_lines_run_it_with_nothing_of_this_project(exported, tmp_path):
    lines = loader(StdlibText(tokens=16), exported.folder)
    tokens, expected = exported.cases[0]
    np.savez(tmp_path / "case.npz", tokens=tokens, expected=expected)
    # Their own text runs, and what they call it with gives the supernet's logits.
    checks = """
case = np.load("case.npz")
assert logits.shape == (1, 17, 256), logits.shape
logits = network.call(weights, case["tokens"])
np.testing.assert_allclose(logits, case["expected"], atol=1e-5)
"""
    run_alone(lines, checks, tmp_path)


ALONE = """
import sys
ours = {"nas", "supernets", "search", "kernels", "experiments", "flax"}
assert not ours & set(sys.modules), ours & set(sys.modules)
"""


def run_alone(lines, checks, folder):
    assert len(lines.splitlines()) <= 10
    done = subprocess.run(
        [sys.executable, "-I", "-c", lines + ALONE + checks],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def exported_to(folder, model, data):
    """Exports a subnet, and returns it as it is loaded back."""
    source, member = source_of(model, data), member_of(model)
    with symbolic_sizes():
        export_subnet(source, member, folder)
    verification = json.loads((folder / "verification.json").read_text())
    for check in verification["files"].values():
        assert check["verified"]
    genotype = model.space().encode(member.arch)
    params = model.costs(genotype[None], batch=1, example=data.example)["params"][0]
    weights = load_file(folder / "model.safetensors")
    assert sum(weight.size for weight in weights.values()) == params
    return load_subnet(folder), verification, source.logits(genotype)


def assert_equal_for_any_batch(folder, network, data):
    stored = bytearray((folder / "model.stablehlo").read_bytes())
    program = jax.export.deserialize(stored)
    weights = load_file(folder / "model.safetensors")
    graph, params = nnx.split(network)
    run = quick_jit(lambda params, images: nnx.merge(graph, params)(images))
    for count in (1, 3):
        images = data.fixed("search", count).inputs
        given, expected = program.call(weights, images), run(params, images)
        assert jax.tree.map(np.shape, given) == jax.tree.map(np.shape, expected)
        for logits, others in zip(
            *map(jax.tree.leaves, (given, expected)), strict=True
        ):
            np.testing.assert_allclose(logits, others, atol=1e-5)


@pytest.mark.slow
def test_a_classifier_of_images_is_exported_for_any_batch(tmp_path):
    folder, data = tmp_path / "subnet", Digits()
    network, verification, logits = exported_to(folder, VISION, data)
    assert verification["inputs"] == "2 images of 8 x 8 x 1"
    assert logits.shape == (2, 10)
    assert_equal_for_any_batch(folder, network, data)
    lines = loader(data, folder)
    assert "(batch, 10)" in lines
    run_alone(lines, "assert logits.shape == (1, 10), logits.shape", tmp_path)


@pytest.mark.slow
def test_every_task_is_exported_and_verified(tmp_path):
    folder, data = tmp_path / "subnet", DigitTasks()
    network, verification, logits = exported_to(folder, TASKS, data)
    assert logits.keys() == {"digit", "corner"}
    for check in verification["files"].values():
        for task in ("digit", "corner"):
            assert check[task]["largest_difference"] <= 1e-4
            assert check[task]["verified"]
    assert_equal_for_any_batch(folder, network, data)
    lines = loader(data, folder)
    assert "by task, digit: (batch, 10), corner: (batch, 4)" in lines
    assert "np.zeros((1, 12, 12, 1), np.float32)" in lines


def test_one_wrong_task_is_not_verified():
    expected = {"digit": np.ones((2, 10)), "corner": np.ones((2, 4))}
    assert export_checks.compared(expected, expected)["verified"]
    for wrong in (1.1, np.nan):
        given = {"digit": expected["digit"], "corner": wrong * expected["corner"]}
        found = export_checks.compared(given, expected)
        assert not found["verified"]
        assert found["digit"]["verified"]
        assert not found["corner"]["verified"]


@pytest.mark.slow
def test_grouped_heads_layer_norms_and_free_depth_are_exported_too(tmp_path):
    exported_to(tmp_path / "subnet", GROUPED, StdlibText(tokens=16))


def test_tampered_weights_do_not_verify_and_do_not_appear(
    exported, tmp_path, monkeypatch
):
    def tamper(weights, path):
        name = "blocks.0.attention.query.kernel"
        save_file(weights | {name: weights[name] + np.float32(0.5)}, path)

    source, member, target = exported.source, exported.member, tmp_path / "subnet"
    monkeypatch.setattr(export, "save_file", tamper)
    message = r"does not give the supernet's outputs: .*model\.safetensors.*kept in"
    with symbolic_sizes(), pytest.raises(RunError, match=message) as caught:
        export_subnet(source, member, target)
    assert member.id in str(caught.value)
    assert not target.exists()
    assert (tmp_path / ".subnet.partial" / "model.safetensors").exists()


def test_an_interrupted_export_leaves_nothing_under_its_name(
    exported, tmp_path, monkeypatch
):
    source, member, target = exported.source, exported.member, tmp_path / "subnet"

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(export, "verify", interrupt)
        with symbolic_sizes(), pytest.raises(KeyboardInterrupt):
            export_subnet(source, member, target)
    assert not target.exists()
    # What that left is not in the way of the next, nor is an old one.
    target.mkdir()
    (target / "old").write_text("")
    monkeypatch.setattr(export, "verify", lambda *_: {})
    with symbolic_sizes():
        export_subnet(source, member, target)
    assert [entry.name for entry in tmp_path.iterdir()] == ["subnet"]
    assert (target / "verification.json").exists()
    assert not (target / "old").exists()


def test_a_folder_without_a_subnet_is_refused(exported, tmp_path):
    message = "holds no exported subnet"
    with pytest.raises(UsageError, match=rf"absent {message} \(.*arch\.json"):
        load_subnet(tmp_path / "absent")
    (tmp_path / "arch.json").write_text("{}")
    with pytest.raises(UsageError, match=rf"{message} \('network'\)"):
        load_subnet(tmp_path)
    for network, told in (
        ({"width": 8}, "'type'"),
        ({"type": "supernets.decoder.plain:Nothing"}, "no attribute 'Nothing'"),
        ({"type": "nas.experiment:Latency"}, "is not the sizes of a plain network"),
        ({"type": "supernets.decoder.plain:PlainDecoderConfig"}, "missing"),
    ):
        (tmp_path / "arch.json").write_text(json.dumps({"network": network}))
        with pytest.raises(UsageError, match=rf"{message} \(.*{told}"):
            load_subnet(tmp_path)
    arch = (exported.folder / "arch.json").read_bytes()
    (tmp_path / "arch.json").write_bytes(arch)
    with pytest.raises(UsageError, match=rf"{message} \(.*model\.safetensors"):
        load_subnet(tmp_path)


def test_torn_and_foreign_weights_are_refused(exported, tmp_path):
    (tmp_path / "arch.json").write_bytes((exported.folder / "arch.json").read_bytes())
    weights = exported.folder / "model.safetensors"
    target = tmp_path / "model.safetensors"
    target.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(UsageError, match="holds no exported subnet"):
        load_subnet(tmp_path)
    save_file({"norm.scale": np.ones(3, np.float32)}, target)
    with pytest.raises(UsageError, match=r"holds no exported subnet .*do not fit"):
        load_subnet(tmp_path)
