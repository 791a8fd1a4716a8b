"""The short options of `nas search DIR`."""

import dataclasses

import pytest

from nas.config import load_recipe
from nas.errors import UsageError
from nas.search_options import HELP, KINDS, parse_search
from search.local_search import LocalSearch
from search.nsga2 import Nsga2
from search.random_search import RandomSearch
from supernets.gradient_search.specs import GradientSearch

EXPERIMENT = load_recipe("experiments.quickstart")


def parsed(*arguments, experiment=EXPERIMENT):
    return parse_search(experiment, arguments)


def test_without_options_everything_stays():
    assert parsed("--ray-address", "auto") == (EXPERIMENT, ["--ray-address", "auto"])


def test_constraints_take_the_place_of_all_there_were():
    found, rest = parsed(
        "--constraint", "latency_ms<=3", "--constraint", "params <= 50 %"
    )
    assert found.search.constraints == ("latency_ms <= 3", "params <= 50%")
    assert rest == []
    assert found.train == EXPERIMENT.train
    assert parsed("--constraint", "latency_ms  <=  3.0")[0].search.constraints == (
        "latency_ms <= 3",
    )


def test_effort_and_seed_are_those_of_the_search():
    found, rest = parsed("--evaluations", "64", "--seed=7", "--search.seeds", "2")
    assert (found.search.evaluations, found.search.seed) == (64, 7)
    assert found.seed == EXPERIMENT.seed
    assert rest == ["--search.seeds", "2"]


def test_algorithms_are_named_and_keep_the_settings_of_the_recipe():
    search = dataclasses.replace(EXPERIMENT.search, algorithm=Nsga2(population=9))
    experiment = dataclasses.replace(EXPERIMENT, search=search)
    found, rest = parsed(
        "--algorithm", "LocalSearch", "Nsga2", "--tensorboard", experiment=experiment
    )
    assert found.search.algorithm == LocalSearch()
    assert found.search.rivals == (Nsga2(population=9),)
    assert found.search.algorithms[-1] == RandomSearch()
    assert rest == ["--tensorboard"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("gradient", GradientSearch),
        ("nsga", Nsga2),
        ("LOCALsearch", LocalSearch),
        ("RandomSearch", RandomSearch),
    ],
)
def test_the_beginning_of_a_name_will_do(name, kind):
    assert parsed("--algorithm", name)[0].search.algorithm == kind()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--algorithm", "nsag2"], r"no algorithm 'nsag2': did you mean Nsga2\?"),
        (["--algorithm", "grdient"], r"did you mean GradientSearch"),
        (["--algorithm", "r"], r"'r': did you mean RegularizedEvolution or RandomS"),
        (["--algorithm", ""], r"no algorithm '': There are"),
        (
            ["--algorithm", "gradient", "--evaluations", "3"],
            "needs 2 for each of its 4",
        ),
        (["--algorithm", "zzz"], r"no algorithm 'zzz': There are .*RandomSearch"),
        (["--algorithm", "Nsga2", "Nsga2"], "name Nsga2 twice"),
        (["--constraint", "latency_ms < 3"], "unknown operator '<'"),
        (["--constraint", ""], "empty constraint"),
        (["--constraint", "speed <= 3"], "nothing computes the metric 'speed'"),
        (["--evaluations", "0"], "evaluations must be at least 1, got 0"),
        (["--seed", "-1"], "seed must not be negative, got -1"),
    ],
)
def test_what_will_not_do_is_told(arguments, message):
    with pytest.raises(UsageError, match=message):
        parsed(*arguments)


@pytest.mark.parametrize(
    "arguments", [["--evaluations", "many"], ["--constraint"], ["--algorithm"]]
)
def test_malformed_options_exit_with_two(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        parsed(*arguments)
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_help_names_every_algorithm():
    assert all(name in HELP for name in KINDS)
