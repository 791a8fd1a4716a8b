"""The command line: exit codes, what it says, and what it does not import."""

import errno
import json
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

from nas import job
from nas.cli import COMMANDS, main
from nas.config import load_recipe
from nas.errors import RunError, Stopped, UsageError
from nas.profile import LatencyProfile
from nas.rundir import RunDirectory, write_json
from search.constraints import Bound, InfeasibleError
from search.latency_model import LatencyModel, PredictionError

RECIPE = """
import nas

experiment = nas.Experiment(
    model=nas.Decoder(
        width=(8, 16), heads=(1, 2), ffn=(8, 16), depth=(1, 2), head_dim=4
    ),
    data=nas.StdlibText(tokens=16),
)
"""


@pytest.fixture(autouse=True)
def recipe(tmp_path, monkeypatch):
    """The working directory holds one recipe, and nothing else."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small_recipe.py").write_text(RECIPE)
    yield "small_recipe.py"
    sys.modules.pop("small_recipe", None)


@pytest.fixture
def stages(monkeypatch):
    """Stages that only note that they ran; what is put under a name is raised there."""

    class Stages(dict):
        def __init__(self):
            super().__init__()
            self.ran = []

    stages = Stages()

    def stage(name):
        def run(context):
            stages.ran.append((name, context))
            if name in stages:
                raise stages[name]

        return run

    monkeypatch.setattr(job, "_stage", stage)
    monkeypatch.setattr(job, "print_front", lambda *_: None)
    return stages


def code_of(*arguments):
    """Returns what the command exits with."""
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    return caught.value.code


def said(capsys):
    """Returns what was written, on one line: boxes and tables wrap it."""
    out, err = capsys.readouterr()
    return " ".join((out + err).replace("│", " ").split())


def test_no_arguments_and_help_say_what_there_is(capsys):
    assert code_of() == 0
    assert code_of("--help") == 0
    told = said(capsys)
    for command in (*COMMANDS, "show"):
        assert told.count(f" {command} ") >= 2
    assert told.count("exit codes: 0 done; 1 failed; 2 wrong usage; 3 no arch") == 2


def test_help_of_a_recipe_lists_its_fields(capsys, recipe):
    assert code_of("run", recipe, "--help") == 0
    told = said(capsys)
    for field in ("--train.steps", "--model.width", "--search.constraints", "--out"):
        assert field in told
    assert "8 16" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnu", "x"], "invalid choice: 'rnu'"),
        (["run"], "the following arguments are required: TARGET"),
        (["run", "small_recip"], "no recipe 'small_recip': give a file, or a module"),
        (["run", "experiments.quickstrt"], "did you mean experiments.quickstart?"),
        (["run", "other.py"], "recipe file other.py does not exist"),
        (["run", "."], "is not a run directory: no config.json"),
        (["run", "small_recipe.py", "--train.stepz", "3"], "--train.steps"),
        (["run", "small_recipe.py", "--train.steps", "many"], "many"),
        (["run", "small_recipe.py", "--train.steps", "0"], "steps must be at least 1"),
        (
            ["run", "small_recipe.py", "--search.constraints", "speed <= 3"],
            "nothing computes the metric 'speed'",
        ),
        (["run", "small_recipe.py", "--model.heads", "2", "1"], "is not sorted"),
        (["run", "small_recipe.py", "--out", "small_recipe.py"], "another --out"),
        (["show", "small_recipe.py", "--seed", "-1"], "seed must not be negative"),
        (
            ["run", "small_recipe.py", "--model.vocabulary", "9"],
            "too small for the data",
        ),
        (["report", "small_recipe.py"], "the stage 'train' has not been run"),
    ],
)
def test_wrong_usage_exits_with_two_and_says_what_is_wrong(
    capsys, stages, arguments, message
):
    assert code_of(*arguments) == 2
    assert message in said(capsys)
    assert stages.ran == []


def test_a_misspelt_field_is_answered_with_the_right_one(capsys, recipe):
    assert code_of("run", recipe, "--search.evaluation", "3") == 2
    assert "--search.evaluations" in said(capsys)


def test_bad_values_in_a_recipe_are_told_with_their_line(capsys, tmp_path):
    (tmp_path / "small_recipe.py").write_text(RECIPE.replace("tokens=16", "tokens=1"))
    assert code_of("run", "small_recipe.py") == 2
    told = said(capsys)
    assert "nas: recipe small_recipe.py, line 8: tokens must be at least 2" in told


def test_constraints_that_cannot_be_met_exit_with_three_before_training(
    capsys, recipe, stages, tmp_path
):
    bad = ("--search.constraints", "params <= 100", "latency_ms <= 60%")
    assert code_of("run", recipe, "--out", "out", *bad) == 3
    told = said(capsys)
    space = load_recipe(recipe).model.space()
    nearest = json.dumps(space.decode(space.smallest).to_json())
    assert f"no architecture satisfies 'params <= 100': the nearest, {nearest}" in told
    assert "raise the limit to at least" in told
    assert stages.ran == []
    assert not (tmp_path / "out" / "checkpoints").exists()
    # The limit can be raised where it was too low: nothing was claimed yet.
    good = ("--search.constraints", "params <= 100%")
    assert code_of("run", recipe, "--out", "out", *good) == 0
    assert [name for name, _ in stages.ran] == list(COMMANDS["run"])


def test_data_that_is_not_there_is_told_before_anything_is_claimed(
    capsys, recipe, stages, tmp_path
):
    line = ("run", recipe, "--out", "out", "--data.folder")
    assert code_of(*line, "absent") == 2
    assert "data folder absent does not exist" in said(capsys)
    assert stages.ran == []
    assert not (tmp_path / "out" / "config.json").exists()


def profile_for(experiment, tokens):
    """A profile of one sequence of so many tokens."""
    space = experiment.model.space()
    terms = experiment.model.latency_terms(space.largest[None]).shape[1]
    model, error = LatencyModel((1.0,) * terms), PredictionError(1.0, 100.0, 1.0)
    return LatencyProfile("x", space.fingerprint, 1, (tokens,), (), model, error)


def test_a_profile_of_another_input_is_told_before_training(
    capsys, recipe, stages, tmp_path
):
    write_json(tmp_path / "d.json", profile_for(load_recipe(recipe), 17).to_json())
    line = ("run", recipe, "--out", "out", "--latency-profile")
    assert code_of(*line, "d.json") == 2
    assert "with an input of 1 x 17 tokens, this run has space" in said(capsys)
    assert code_of(*line, "small_recipe.py") == 2
    assert "small_recipe.py is not a latency profile" in said(capsys)
    assert stages.ran == []


def test_a_given_profile_lets_latency_be_judged_before_training(
    capsys, recipe, stages, tmp_path
):
    write_json(tmp_path / "d.json", profile_for(load_recipe(recipe), 16).to_json())
    line = ("run", recipe, "--out", "out", "--latency-profile", "d.json")
    assert code_of(*line, "--search.constraints", "latency_ms <= 0.5") == 3
    assert "no architecture satisfies 'latency_ms <= 0.5'" in said(capsys)
    assert stages.ran == []


SHEET = "flops_per_s=1e9,bytes_per_s=5e8"


@pytest.mark.usefixtures("stages")
def test_a_device_is_profiled_to_a_file_that_limits_a_run(capsys, recipe, tmp_path):
    line = ("bench", "latency", recipe, "--device", "edge", "--roofline", SHEET)
    assert code_of(*line) == 0
    assert "latency on edge: roofline, not measured" in said(capsys)
    assert code_of(*line) == 2
    assert "edge.json exists; remove it, or give another file" in said(capsys)
    line = ("run", recipe, "--out", "out", "--latency-profile", "edge=edge.json")
    assert code_of(*line, "--search.constraints", "latency_ms_edge <= 0.001") == 3
    assert "no architecture satisfies 'latency_ms_edge <= 0.001'" in said(capsys)
    limit = ("--search.constraints", "latency_ms_edge <= 80%")
    assert code_of(*line, *limit) == 0
    stored = RunDirectory(tmp_path / "out").devices / "edge.json"
    assert LatencyProfile.load(stored) == LatencyProfile.load(tmp_path / "edge.json")
    # What the run holds is enough to go on.
    (tmp_path / "edge.json").unlink()
    assert code_of("run", recipe, "--out", "out", *limit) == 0
    assert code_of("show", "out", *limit) == 0
    assert "latency_ms_edge" in said(capsys)


def test_a_limit_on_a_device_that_nobody_knows_is_told_before_training(
    capsys, recipe, stages
):
    limit = ("--search.constraints", "latency_ms_phone <= 30")
    for command in ("run", "show"):
        assert code_of(command, recipe, *limit) == 2
        told = said(capsys)
        assert "nothing computes 'latency_ms_phone': there is no profile of" in told
    assert stages.ran == []


def test_profiling_a_device_needs_a_target_and_one_way(capsys, recipe):
    assert code_of("bench", "latency") == 2
    assert "the following arguments are required: TARGET" in said(capsys)
    both = ("--csv", "a.csv", "--roofline", SHEET, "--device", "x")
    assert code_of("bench", "latency", recipe, *both) == 2
    assert "--csv and --roofline are different things; give one" in said(capsys)
    assert code_of("bench", "latency", recipe, "--help") == 0
    told = said(capsys)
    for option in ("--device", "--csv", "--roofline", "--template", "--latency.fit"):
        assert option in told


def test_a_run_of_another_configuration_is_refused_with_the_difference(
    capsys, recipe, stages
):
    assert code_of("train", recipe, "--out", "out") == 0
    assert code_of("train", recipe, "--out", "out", "--train.steps", "7") == 2
    told = said(capsys)
    assert "holds a run of another configuration: train.steps: 300 -> 7" in told
    assert [name for name, _ in stages.ran] == ["train"]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_runs_its_stages_where_it_was_told_to(
    command, recipe, stages, tmp_path
):
    before = job.STAGES[: job.STAGES.index(COMMANDS[command][0])]
    run = RunDirectory(tmp_path / "runs" / "small_recipe")
    run.claim(load_recipe(recipe))
    for stage in before:
        run.finish(stage, 1.0)
    assert code_of(command, recipe, "--ray-address", "auto") == 0
    assert [name for name, _ in stages.ran] == list(COMMANDS[command])
    for _, context in stages.ran:
        assert context.run.path == run.path
        assert context.ray_address == "auto"
        assert context.command == f"nas {command} {recipe} --ray-address auto"
    assert set(run.finished()) == {*before, *COMMANDS[command]}


def searched(recipe, out):
    """A run that was searched, with what that leaves."""
    run = RunDirectory(out)
    experiment = load_recipe(recipe)
    run.claim(experiment)
    for stage in job.STAGES:
        run.finish(stage, 1.0)
    write_json(run.device, profile_for(experiment, 16).to_json())
    run.archive.write_text("")
    write_json(run.front, ["first"])
    return run


def test_another_search_keeps_the_results_of_the_first(
    capsys, recipe, stages, tmp_path
):
    run = searched(recipe, tmp_path / "out")
    assert code_of("search", "out", "--constraint", "latency_ms<=100%") == 0
    assert [name for name, _ in stages.ran] == ["search", "verify"]
    assert stages.ran[0][1].experiment.search.constraints == ("latency_ms <= 100%",)
    told = said(capsys)
    assert 'search.constraints: ["latency_ms <= 60%"] -> ["latency_ms <= 100%"]' in told
    assert "results of the former one: out/earlier/1" in told
    assert (run.earlier / "1" / "front.json").exists()
    assert not run.front.exists()
    # The recipe itself asks for the first search again.
    assert code_of("run", recipe, "--out", "out") == 0
    names = [name for name, _ in stages.ran[2:]]
    assert names == ["search", "verify", "finetune", "export", "report"]
    assert RunDirectory(run.path).experiment() == load_recipe(recipe)


def test_the_same_search_is_not_done_again(capsys, recipe, stages, tmp_path):
    run = searched(recipe, tmp_path / "out")
    assert code_of("search", "out", "--constraint", "latency_ms <=60%") == 0
    assert stages.ran == []
    assert "verify: done before" in said(capsys)
    assert run.front.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["search", "out", "--constraint", "latency_ms<=1e-9"], 3, "no architecture"),
        (["search", "out", "--algorithm", "nsgX"], 2, "did you mean Nsga2?"),
        (["search", "out", "--search.examples", "3"], 2, "search.examples: 32 -> 3"),
        (["report", "out", "--search.evaluations", "3"], 2, "was searched otherwise"),
        (["report", "out", "out"], 2, "out is given twice"),
    ],
)
def test_a_search_that_cannot_be_leaves_everything_where_it_is(
    capsys, recipe, stages, tmp_path, arguments, code, message
):
    run = searched(recipe, tmp_path / "out")
    before = {path.name: path.stat().st_mtime_ns for path in run.path.iterdir()}
    assert code_of(*arguments) == code
    assert message in said(capsys)
    assert stages.ran == []
    after = {path.name: path.stat().st_mtime_ns for path in run.path.iterdir()}
    after.pop(run.lock_file.name, None)
    assert after == before


def test_a_run_directory_is_a_target_too_and_finished_stages_are_skipped(
    capsys, recipe, stages
):
    assert code_of("train", recipe, "--out", "out", "--seed", "5") == 0
    assert code_of("run", "out") == 0
    names = [name for name, _ in stages.ran]
    assert names == ["train", *COMMANDS["run"][1:]]
    assert stages.ran[-1][1].experiment.seed == 5
    assert "train: done before (0 s)" in said(capsys)


SPACE = load_recipe("experiments.quickstart").model.space()
INFEASIBLE = InfeasibleError(
    Bound("latency_ms", 1.0), SPACE.decode(SPACE.smallest), 2.5
)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UsageError("the profile is of another space"), 2, "profile is of another"),
        (RunError("the loss is not finite"), 1, "nas: the loss is not finite"),
        (INFEASIBLE, 3, "no architecture satisfies 'latency_ms <= 1'"),
        (KeyboardInterrupt(), 130, "nas: stopped; run the same command again to go on"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/data/archive.jsonl"),
            1,
            "nas: the disk is full (/data/archive.jsonl); nothing finished is lost",
        ),
        (
            OSError(errno.EDQUOT, "Quota exceeded"),
            1,
            "the disk is full (while writing)",
        ),
        (ValueError("zarr: No space left on device [28]"), 1, "the disk is full"),
    ],
)
def test_foreseen_errors_of_a_stage_end_with_their_code(
    capsys, recipe, stages, error, code, message
):
    stages["calibrate"] = error
    assert code_of("run", recipe, "--out", "out") == code
    assert message in said(capsys)
    # What came before is kept, and the same line goes on there.
    del stages["calibrate"]
    assert code_of("run", recipe, "--out", "out") == 0
    names = [name for name, _ in stages.ran]
    assert names == ["train", "calibrate", *COMMANDS["run"][1:]]


@pytest.mark.parametrize("direct", [True, False])
def test_a_full_disk_is_told_from_inside_other_errors(capsys, recipe, stages, direct):
    full = OSError(errno.ENOSPC, "No space left on device")
    other = RuntimeError("could not save")
    other.__cause__, other.__context__ = (full, None) if direct else (None, full)
    stages["train"] = other
    assert code_of("run", recipe, "--out", "out") == 1
    assert "free some space and run the same command again" in said(capsys)


def test_unforeseen_errors_keep_their_trace(recipe, stages):
    stages["train"] = ZeroDivisionError("of its own")
    with pytest.raises(ZeroDivisionError, match="of its own") as caught:
        main(["run", recipe, "--out", "out"])
    # Python's own exit code of an error is 1, as for those that were foreseen.
    assert any(entry.name == "run" for entry in caught.traceback)


def test_show_tells_axes_size_and_three_landmarks(capsys, recipe):
    assert code_of("show", recipe) == 0
    told = said(capsys)
    assert "Space: 40 subnets" in told
    for axis in ("depth", "width", "heads", "ffn"):
        assert f" {axis} " in told
    model = load_recipe(recipe).model
    space = model.space()
    marks = np.stack([space.smallest, space.middle, space.largest])
    params = model.costs(marks, batch=1, example=(16,))["params"]
    for label, value in zip(("smallest", "middle", "largest"), params, strict=True):
        assert f"{label} {value:,.0f}" in told
    assert "objectives: loss, latency_ms" in told
    assert "constraints: latency_ms <= 60%" in told
    assert "on an input of 1 x 16 tokens" in told


@pytest.mark.slow
def test_show_tells_how_sampled_subnets_run_and_why(capsys, recipe, monkeypatch):
    assert code_of("show", recipe) == 0
    told = said(capsys)
    assert "Sampled subnets, execution 'auto' on cpu, one branch for each of" in told
    for stage in ("train", "search"):
        for operation in ("SelfAttention", "FeedForward"):
            assert f"{stage} {operation} " in told
    monkeypatch.setenv("NAS_EXECUTION", "masked")
    assert code_of("show", recipe) == 0
    told = said(capsys)
    assert "execution 'masked' on cpu" in told
    assert "FeedForward masked asked for" in told
    assert "branch" not in told


def test_show_tells_what_training_needs(capsys, recipe):
    alone = ("--train.parallel.data", "1")
    assert code_of("show", recipe, "--compile", *alone) == 0
    told = said(capsys)
    assert re.search(
        r"Training on \d+ x cpu memory per device: \S+ MB of weights", told
    )
    assert re.search(r"work: \S+ FLOPs in a mean step, \S+ in all", told)
    assert re.search(r"time: at least \d+ s, at the \S+ FLOPs in a second", told)
    assert re.search(r"compiled step: \S+ MB of state and batch, \S+ MB", told)


@pytest.mark.slow
def test_show_tells_of_devices_that_are_not_here(capsys, recipe):
    assert code_of("show", recipe, "--train.parallel.fsdp", "8") == 0
    told = said(capsys)
    assert "Training on 1 x cpu not on the devices here: train.parallel: fsdp 8" in told
    assert "memory per device:" in told


def test_a_signal_exits_with_its_number(capsys, recipe, stages):
    stages["train"] = Stopped("stopped by SIGTERM after step 7", signal.SIGTERM)
    assert code_of("train", recipe) == 143
    assert "nas: stopped by SIGTERM after step 7" in said(capsys)


IMAGES = """
import nas
from nas.data import Digits
from supernets.vision.spec import VisionTransformer

experiment = nas.Experiment(
    model=VisionTransformer(
        width=(8, 16),
        heads=(1, 2),
        ffn=(8, 16),
        depth=(1, 2),
        head_dim=4,
        image=(8, 8, 1),
    ),
    data=Digits(),
    search=nas.Search(objectives=("error", "latency_ms")),
)
"""


@pytest.mark.slow
def test_show_tells_of_images_too(capsys, tmp_path):
    (tmp_path / "small_recipe.py").write_text(IMAGES)
    assert code_of("show", "small_recipe.py", "--data.shift", "1") == 0
    told = said(capsys)
    assert "on an input of 1 image of 8 x 8 x 1" in told
    assert "batch: 8 images of 8 x 8 x 1" in told
    assert "objectives: error, latency_ms" in told
    assert "choices of width" in told
    assert code_of("show", "small_recipe.py", "--model.image", "8", "9", "1") == 2
    assert "patches of side 4 do not divide an image of 8 x 9" in said(capsys)
    assert code_of("show", "small_recipe.py", "--model.classes", "9") == 2
    assert "the model has 9 classes and the data 10" in said(capsys)


def test_an_execution_that_does_not_apply_is_told_and_exits_with_two(capsys, recipe):
    assert code_of("show", recipe, "--execution", "pallas") == 2
    told = said(capsys)
    assert "execution 'pallas' does not apply to SelfAttention" in told
    assert "Pallas has no compiler for the CPU" in told


LIGHT = """
import sys
from nas.cli import main

for arguments in (["--help"], ["run", "small_recipe.py", "--help"]):
    try:
        main(arguments)
    except SystemExit as end:
        assert end.code == 0, arguments
    heavy = {"jax", "flax", "optax", "orbax", "ray", "matplotlib"} & set(sys.modules)
    assert not heavy, (arguments, heavy)
"""


def test_help_starts_no_array_library():
    line = [sys.executable, "-c", LIGHT]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_package_is_the_command_too():
    line = [sys.executable, "-m", "nas", "run", "absent.py"]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "nas: recipe file absent.py does not exist\n"
