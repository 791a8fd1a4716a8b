"""The execution benchmark, on a decoder that is as small as they come."""

import dataclasses
import json
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import execution as benchmark
from experiments.benchmarks import (
    execution_cases,
    execution_population,
    execution_steps,
)
from experiments.benchmarks.against_pytorch import DECODERS
from experiments.benchmarks.execution_cases import (
    EXECUTIONS,
    Subject,
    Supernet,
    measure_subnets,
)
from experiments.benchmarks.execution_figure import execution_figure
from experiments.benchmarks.execution_rounds import (
    WARM_UPS,
    Program,
    against,
    alternate,
)
from experiments.benchmarks.execution_steps import (
    PARTS,
    SHARE,
    Trainer,
    random_subnets,
)
from nas.report import drawing
from supernets.decoder.spec import Decoder
from supernets.losses.distillation import Distillation
from supernets.losses.loss import Batch
from supernets.losses.losses import Losses
from supernets.training import make_train_step
from tests.kernels.comparison import assert_close

# Default runs leave out what only repeats the work of smaller tests.
pytestmark = pytest.mark.long

TINY = Subject(
    decoder=Decoder(
        width=(8, 16),
        heads=(1, 2),
        ffn=(16, 32),
        depth=(1, 2),
        head_dim=8,
        gated=False,
    ),
    middle={"depth": (1,), "width": (0,), "heads": (0, 1), "ffn": (1, 0)},
    batch=2,
    tokens=8,
)


def way(ratio):
    return {"ms": 100 * ratio, "ratio": ratio, "quartiles": [ratio, 1.1 * ratio]}


def kind(names, masked):
    compiled = {"compile_seconds": 2.0, "temporary_mb": 1.0}
    return {
        "programs": dict.fromkeys(EXECUTIONS, compiled),
        "rows": [
            {
                "subnet": name,
                "fixed": {"ms": 100.0, **compiled},
                "masked": way(masked),
                "switched": way(1 + 0.01 * place),
            }
            for place, name in enumerate(names)
        ],
    }


def made_up():
    names = list(TINY.subnets())
    spent = {"run_seconds": 1.5, "compile_seconds": 2.5, "total_seconds": 4.0}
    size = {
        "subnets": {name: {"params": 1e6, "macs": 1e9} for name in names},
        "forward": kind(names, 5.0),
        "training": kind(names, 3.0),
        "training_bfloat16": kind(["largest"], 1.0),
        "sandwich": {"fixed": {"ms": 400.0}, "masked": way(1.6), "switched": way(1.04)},
    }
    return {
        "sizes": {"width 16": size, "width 32": size},
        "population": {
            "population": 64,
            "extracted_members": 6,
            **dict.fromkeys((*EXECUTIONS, "auto"), spent),
            "extracted": {**spent, "total_seconds": 90.4},
        },
    }


@pytest.fixture(scope="module")
def supernet():
    return Supernet(TINY)


def test_the_middle_subnet_of_the_full_benchmark_is_the_one_that_is_told():
    for decoder in DECODERS.values():
        subject = Subject(decoder=decoder, middle=benchmark.MIDDLE, batch=1, tokens=128)
        subnets = subject.subnets()
        arch = decoder.space().decode(subnets["middle"]).to_json()
        assert len(arch["layers"]) == decoder.depth[2]
        assert arch["width"] == decoder.width[1]
        assert arch["heads"] == [decoder.heads[n] for n in (0, 1, 2, 0, 1)]
        assert arch["ffn"] == [decoder.ffn[n] for n in (0, 1, 2, 3, 1)]
        random = [genotype for name, genotype in subnets.items() if "random" in name]
        assert len({int(genotype[0]) for genotype in random}) == 3


@pytest.mark.parametrize("direction", ["forward", "training"])
def test_every_way_that_is_timed_computes_the_same(supernet, direction):
    genotype = TINY.subnets()["middle"]
    expected = supernet.fixed(direction, genotype).call(*supernet.operands)
    for execution in EXECUTIONS:
        program = supernet.traced(direction, execution)
        found = program.call(jnp.asarray(genotype), *supernet.operands)
        assert_close(found, expected)


def test_the_parts_of_a_sandwich_step_give_the_weights_that_the_step_gives(supernet):
    trainer = Trainer(supernet)
    draw = trainer.draw(0)
    train = make_train_step(
        supernet.network,
        supernet.space,
        trainer.optimizer,
        trainer.slots,
        losses=Losses(taught=Distillation(share=SHARE)),
    )
    batch = Batch(supernet.inputs, supernet.targets)
    expected, _ = train(trainer.state(), batch, draw, 0)
    (_, logits), gradient = trainer.teacher().call(*supernet.operands)
    gradients = [gradient]
    for genotype in (supernet.space.smallest, *random_subnets(draw)):
        student = trainer.student(genotype, logits)
        gradients.append(student.call(*supernet.operands, logits)[1])
    _, update = trainer.update(gradients)
    # Its moments are linear and quadratic in the gradient, as new weights are not.
    found = update.call(trainer.state(), gradients)
    assert_close(found.optimizer, expected.optimizer)
    assert len(gradients) == len(PARTS) - 1


def test_a_subnet_in_bfloat16_has_gradients_in_bfloat16():
    supernet = Supernet(TINY, "bfloat16")
    program = supernet.fixed("training", supernet.space.smallest)
    _, gradient = program.call(*supernet.operands)
    assert gradient["norm"]["scale"][...].dtype == jnp.bfloat16


def test_rows_hold_times_ratios_and_what_programs_took(supernet):
    subnets = {"smallest": supernet.space.smallest}
    found = measure_subnets(supernet, "forward", subnets, rounds=1)
    assert found["programs"].keys() == set(EXECUTIONS)
    (row,) = found["rows"]
    assert row["subnet"] == "smallest"
    assert row["fixed"].keys() == {"ms", "compile_seconds", "temporary_mb"}
    assert row["switched"].keys() == {"ms", "ratio", "quartiles"}
    assert json.loads(json.dumps(found)) == found


def test_every_way_of_every_case_runs_once_a_round(capsys):
    ran = []
    cases = {
        case: {way: lambda key=(case, way): ran.append(key) for way in "ab"}
        for case in (1, 2)
    }
    samples = alternate(cases, rounds=3, label="toys")
    assert all(len(taken) == 3 for ways in samples.values() for taken in ways.values())
    assert len(ran) == 4 * (3 + WARM_UPS)
    for start in range(0, len(ran), 2):
        (first, one), (second, other) = ran[start : start + 2]
        assert first == second
        assert {one, other} == {"a", "b"}
    assert "toys" in capsys.readouterr().err


def test_a_ratio_is_the_median_of_those_within_a_round():
    found = against([2.0, 30.0, 3.0], [1.0, 10.0, 2.0])
    assert found == {"ms": 3.0, "ratio": 2.0, "quartiles": [1.75, 2.5]}


def test_a_program_tells_the_memory_it_takes():
    def product(x):
        return jnp.tanh(x @ x) @ x

    x = jnp.ones((256, 256))
    program = Program.of(product, x)
    assert program.temporary_mb >= 256 * 256 * 4 / 1e6
    assert program.compile_seconds > 0
    np.testing.assert_array_equal(program.call(x), 256.0)


def test_lines_of_the_readme_say_ratios_and_seconds():
    lines = benchmark.readme_rows(made_up())
    assert lines[1] == (
        "| Switched training step, largest / middle / smallest "
        "| 1.00x / 1.01x / 1.02x of `Fixed` |"
    )
    assert "| Sandwich step of four subnets | 104 ms switched" in "\n".join(lines)
    assert "4.0 s with one program" in lines[-1]
    assert "90 s with a program for each (scaled from 6)" in lines[-1]
    assert all(line.startswith("| ") and line.count("|") == 3 for line in lines)


@pytest.mark.parametrize("supernets", [1, 2])
def test_the_figure_shows_every_subnet_of_every_supernet(supernets):
    sizes = dict(list(made_up()["sizes"].items())[:supernets])
    figure = execution_figure(sizes)
    named, _ = figure.axes
    labels = [label.get_text() for label in named.get_yticklabels()]
    assert len(labels) == 7 * supernets
    assert labels[:2] == ["Width 16: parameters", "largest, 1.00 M"]
    assert drawing.to_png(figure).startswith(b"\x89PNG")


def test_no_rounds_are_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["execution", "--rounds", "0"])
    with pytest.raises(SystemExit):
        benchmark.main()
    assert "--rounds: must be at least 1" in capsys.readouterr().err


def test_the_command_writes_results_and_a_figure(monkeypatch, tmp_path, capsys):
    full = benchmark.experiment
    tiny = dataclasses.replace(
        full,
        model=TINY.decoder,
        data=dataclasses.replace(full.data, tokens=TINY.tokens),
        search=dataclasses.replace(full.search, examples=2),
    )
    monkeypatch.setattr(benchmark, "experiment", tiny)
    monkeypatch.setattr(benchmark, "start", lambda: None)
    monkeypatch.setattr(benchmark, "DECODERS", {benchmark.NARROW: TINY.decoder})
    monkeypatch.setattr(benchmark, "MIDDLE", TINY.middle)
    monkeypatch.setattr(execution_cases, "RANDOM", 0)
    monkeypatch.setattr(execution_steps, "PAIRS", 1)
    monkeypatch.setattr(execution_population, "COMPILED", 2)
    monkeypatch.setattr(execution_population, "EXECUTIONS", ("auto",))
    line = ["execution", "--rounds", "1", "--no-wide", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", line)
    benchmark.main()
    results = json.loads((tmp_path / "execution.json").read_text())
    assert results["machine"].keys() >= {"processor", "cores", "python", "packages"}
    size = results["sizes"][benchmark.NARROW]
    assert size["sandwich"]["fixed"]["parts_ms"].keys() == set(PARTS)
    assert results["population"]["extracted"]["total_seconds"] > 0
    assert (tmp_path / "execution.png").stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert printed.split("\n")[:-1] == benchmark.readme_rows(results)
