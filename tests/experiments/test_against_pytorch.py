"""The comparison with PyTorch, as far as it goes without PyTorch."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments.benchmarks import against_pytorch
from experiments.benchmarks.against_pytorch import (
    ROWS,
    alternate,
    difference,
    environment,
    members,
    unavailable,
    verify,
)
from experiments.benchmarks.jax_peer import InBfloat16, JaxSide
from experiments.benchmarks.peer import PAIRS, Case, Peer, Program, UnavailableError
from experiments.benchmarks.ratios import Row, Times, ratios_figure
from nas.report import drawing
from supernets.decoder.extraction import extract
from supernets.decoder.spec import Decoder
from supernets.lowering import fixed_extents

# Default runs leave out what only repeats the work of smaller tests.
pytestmark = pytest.mark.slow

TINY = Decoder(
    width=(8, 16),
    heads=(1, 2),
    ffn=(16, 32),
    depth=(1, 2),
    head_dim=8,
    gated=False,
    vocabulary=32,
)

FORWARD = Case("forward", "smallest", "float32")

TOY = """
import sys, numpy as np
from experiments.benchmarks.peer import *
def build(case):
    if case.precision == "bfloat16":
        raise UnavailableError("no bfloat16 here")
    print("a library that prints")
    return Program(lambda: float(sys.argv[1]), lambda x: {"x": np.full(2, x)})
serve({"packages": {}}, build)
"""


def toy(value):
    return Peer("toy", [sys.executable, "-c", TOY, str(value)], {})


@pytest.fixture(scope="module")
def side():
    return JaxSide(TINY)


def test_a_peer_answers_in_lines_whatever_it_prints(tmp_path):
    with toy(3.0) as peer:
        assert peer.describe() == {"packages": {}}
        assert peer.prepare(FORWARD) == ""
        assert peer.values(FORWARD, tmp_path / "v.npz")["x"].tolist() == [3.0, 3.0]
        assert peer.seconds(FORWARD) > 0


def test_a_peer_that_ends_is_reported_by_name():
    with (
        Peer("toy", [sys.executable, "-c", "raise SystemExit(3)"], {}) as peer,
        pytest.raises(RuntimeError, match="the toy side ended with exit code 3"),
    ):
        peer.describe()


def test_sides_that_differ_are_not_timed(tmp_path):
    with toy(1.0) as ours, toy(1.00001) as theirs, toy(1.01) as wrong:
        for peer in (ours, theirs, wrong):
            peer.prepare(FORWARD)
        found = verify({"ours": ours, "theirs": theirs}, [FORWARD], tmp_path)
        assert 0 < found["float32"] < 1e-4
        with pytest.raises(RuntimeError, match="nothing was timed"):
            verify({"ours": ours, "theirs": wrong}, [FORWARD], tmp_path)


def test_a_case_that_one_side_cannot_run_has_its_reason():
    sandwich = Case("sandwich", "four subnets", "bfloat16")
    with toy(1.0) as ours, toy(1.0) as theirs:
        sides = {"ours": ours, "theirs": theirs}
        assert unavailable(sides, sandwich) == dict.fromkeys(sides, "no bfloat16 here")
        assert unavailable(sides, FORWARD) == {}


def test_every_case_runs_on_both_sides_in_every_round(monkeypatch):
    monkeypatch.setattr(against_pytorch, "REST_SECONDS", 0.0)

    class Counter:
        calls = 0

        def seconds(self, _):
            self.calls += 1
            return 1.0

    sides = {"ours": Counter(), "theirs": Counter()}
    cases = [case for row in ROWS for case in members(row)]
    seconds = alternate(sides, cases, rounds=3)
    assert seconds == {case: {"ours": [1.0] * 3, "theirs": [1.0] * 3} for case in cases}
    assert sides["ours"].calls == sides["theirs"].calls == 5 * len(cases)


def test_difference_names_the_worst_array():
    ours = {"a": np.array([1.0, 4.0]), "b": np.array([0.0, 0.0])}
    assert difference(ours, {**ours, "a": np.array([1.0, 5.0])}) == ("a", 0.25)
    name, found = difference(ours, {**ours, "b": np.array([0.0, np.nan])})
    assert name == "b"
    assert np.isnan(found)
    assert difference(ours, {**ours, "b": np.array([0.0, 1e-9])})[1] > 1
    with pytest.raises(RuntimeError, match="different arrays"):
        difference(ours, {"a": ours["a"]})


def test_times_are_means_of_medians_and_ratios_those_of_a_round():
    ours = np.array([[1.0, 2.0, 9.0], [3.0, 3.0, 3.0]])
    theirs = np.array([[1.0, 1.0, 1.0], [4.0, 4.0, 4.0]])
    times = Times.of(ours, theirs)
    assert (times.ours_ms, times.theirs_ms) == (2500.0, 2500.0)
    assert times.ratio == 1.0
    assert times.quartiles == (0.9, 1.7)


def test_the_figure_shows_measured_and_unavailable_rows():
    times = Times(ours_ms=2.0, theirs_ms=4.0, ratio=0.5, quartiles=(0.4, 0.6))
    rows = [
        Row(case=ROWS[0], times=times),
        Row(case=ROWS[-1], unavailable={"ours": "no"}),
    ]
    figure = ratios_figure({"one": rows, "two": rows}, title="Ratios")
    written = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert [text for text in written if text.startswith("0.50")]
    assert [text for text in written if text.startswith("not available: ours")]
    left, right = figure.axes[0].get_xlim()
    assert left < 0.4
    assert right > 1
    assert drawing.to_png(figure).startswith(b"\x89PNG")


def test_an_environment_that_cannot_be_built_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def fail(line, **_):
        raise subprocess.CalledProcessError(2, line)

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(SystemExit, match="takes uv, a network and 5 GB"):
        environment()
    assert not list(tmp_path.rglob("ready"))


def test_an_environment_is_built_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    lines = []

    def make(line, **_):
        lines.append(line)
        (tmp_path / "nas-jax" / f"pytorch-{against_pytorch.PYTORCH}").mkdir(
            exist_ok=True
        )

    monkeypatch.setattr(subprocess, "run", make)
    assert environment() == environment()
    assert len(lines) == 2


def test_our_logits_are_those_of_the_extracted_subnet(side):
    program = side.build(FORWARD)
    logits = program.values(program.run())["logits"]
    smallest = side.space.decode(side.space.smallest)
    alone = extract(side.network, TINY, smallest)(side.inputs)
    np.testing.assert_allclose(logits, alone, rtol=1e-5, atol=1e-5)


def test_gradients_have_the_names_and_shapes_of_the_exercise(side, tmp_path):
    side.write_exercise(tmp_path)
    program = side.build(Case("training", "middle", "float32"))
    values = program.values(program.run())
    with np.load(tmp_path / "exercise.npz") as stored:
        shapes = {name: array.shape for name, array in stored.items()}
    del shapes["inputs"], shapes["targets"]
    assert {n: a.shape for n, a in values.items()} == {**shapes, "loss": ()}
    exercise = json.loads((tmp_path / "exercise.json").read_text())
    assert [len(subnets) for subnets in exercise["subnets"].values()] == [
        *(1, 1, 1),
        *(2 for _ in PAIRS),
    ]
    assert exercise["subnets"]["largest"] == [
        {"layers": [0, 1], "width": 16, "heads": [2, 2], "ffn": [32, 32]}
    ]


def test_sandwich_steps_share_their_state(side):
    first, second = (side.build(Case("sandwich", p, "float32")) for p in PAIRS[:2])
    before = first.values(first.run())["losses"]
    for _ in range(3):
        second.run()
    after = first.values(first.run())["losses"]
    assert before.shape == (4,)
    assert (after != before).all()


def test_a_sandwich_step_in_bfloat16_scores_in_float32(side):
    # Building it traces it, and says so if an operation does not run.
    side.build(Case("sandwich", PAIRS[0], "bfloat16"))
    extents = fixed_extents(side.space, side.space.smallest)
    network = InBfloat16(side.network)
    outputs = jax.eval_shape(lambda x: network.outputs(x, extents), side.inputs)
    assert outputs.logits.dtype == jnp.float32
    assert outputs.features.dtype == jnp.bfloat16
    exits = jax.eval_shape(lambda x: network.exits(x, extents), side.inputs)
    assert [each.logits.dtype for each in exits] == [jnp.float32] * len(TINY.depth)


def test_a_network_in_bfloat16_rounds_its_parameters_and_returns_float32():
    class Double(nnx.Module):
        def __init__(self):
            self.weight = nnx.Param(jnp.full(2, 1.001))

        def __call__(self, *_):
            assert self.weight[...].dtype == jnp.bfloat16
            return self.weight[...] * 2

    logits = InBfloat16(Double())(None, {})
    assert logits.dtype == jnp.float32
    assert logits.tolist() == [2.0, 2.0]


def test_an_operation_that_would_leave_bfloat16_makes_a_case_unavailable(
    side, monkeypatch
):
    def promote(_):
        values = jnp.ones(2, jnp.bfloat16) * jnp.ones(2, jnp.float32)
        return Program(lambda: values, lambda x: {"x": np.asarray(x)})

    monkeypatch.setattr(side, "_forward", promote)
    with (
        jax.numpy_dtype_promotion("strict"),
        pytest.raises(UnavailableError, match="Input dtypes"),
    ):
        side.build(FORWARD)
