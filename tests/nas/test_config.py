"""Configurations as tagged JSON, what differs between two, and recipes."""

import dataclasses
import json
import sys

import pytest

from experiments.quickstart import experiment as quickstart
from nas.config import (
    decode,
    decode_experiment,
    differences,
    encode,
    load_recipe,
)
from nas.errors import UsageError
from nas.experiment import Latency, Search
from search.random_search import RandomSearch


def through_text(value):
    return json.loads(json.dumps(encode(value)))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"search": Search(algorithm=RandomSearch(), objectives=("loss",))},
        {"latency": Latency(batch=4), "seed": 7},
    ],
)
def test_an_experiment_survives_the_trip_through_json(changes):
    experiment = dataclasses.replace(quickstart, **changes)
    assert decode_experiment(through_text(experiment)) == experiment


def test_what_has_no_json_form_is_refused_by_name():
    with pytest.raises(TypeError, match=r"cannot hold \{1\} of type <class 'set'>"):
        encode({1})


def test_differences_name_each_changed_field_with_both_values():
    changed = dataclasses.replace(
        quickstart,
        seed=3,
        search=dataclasses.replace(quickstart.search, constraints=("params <= 50%",)),
        data=dataclasses.replace(quickstart.data, folder="elsewhere"),
    )
    assert differences(encode(quickstart), encode(changed)) == [
        'data.folder: "" -> "elsewhere"',
        'search.constraints: ["latency_ms <= 60%"] -> ["params <= 50%"]',
        "seed: 0 -> 3",
    ]
    assert differences(encode(quickstart), encode(quickstart)) == []


def test_differences_say_which_fields_only_one_side_has():
    search = dataclasses.replace(quickstart.search, algorithm=RandomSearch(batch=8))
    lines = differences(encode(quickstart.search), encode(search))
    assert lines == [
        "algorithm.batch: absent -> 8",
        "algorithm.crossover_probability: 0.9 -> absent",
        "algorithm.mutation_probability: null -> absent",
        "algorithm.population: 32 -> absent",
        'algorithm.type: "search.nsga2:Nsga2" -> "search.random_search:RandomSearch"',
    ]


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        ({"type": "builtins:dict"}, "builtins:dict is not a dataclass"),
        ({"type": "nas.config:encode"}, "nas.config:encode is not a dataclass"),
        ({"type": "nas.experiment:Latency", "batsch": 1}, "'batsch'"),
        ({"type": "nas.experiment:Latency", "batch": 0}, "batch >= 1"),
        ({"type": "nas.experiment:Nothing"}, "'Nothing'"),
        ({"type": "no_such_module:Latency"}, "No module named 'no_such_module'"),
        ({"type": ":Latency"}, "configuration of :Latency"),
        ({"batch": 1}, "No module named 'None'"),
    ],
)
def test_what_encode_did_not_write_is_refused(encoded, message):
    with pytest.raises(UsageError, match=message):
        decode(encoded)


def test_a_configuration_of_something_else_is_no_experiment():
    with pytest.raises(UsageError, match=r"holds a .*Latency.*, not an Experiment"):
        decode_experiment(encode(Latency()))


@pytest.fixture
def recipe_file(tmp_path):
    """Writes recipe files, and forgets the modules that they became."""
    before = set(sys.modules)

    def write(text, name="mine_for_a_test.py"):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    yield write
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) == str(tmp_path / f"{name}.py"):
            del sys.modules[name]


def test_a_recipe_is_a_module_or_a_file(recipe_file):
    assert load_recipe("experiments.quickstart") == quickstart
    path = recipe_file("from experiments.quickstart import experiment")
    assert load_recipe(path) == quickstart


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("experiments.quickstrt", r"did you mean experiments\.quickstart\?"),
        ("quickstart", r"did you mean experiments\.quickstart\?"),
        ("experiments/quickstart", r"did you mean experiments\.quickstart\?"),
        ("experiments.quick-start", r"did you mean experiments\.quickstart\?"),
        ("absent.deeper.quickstart", r"did you mean experiments\.quickstart\?"),
        ("experiments.quickstart.deeper", r"give .* as .*experiments\.quickstart"),
        (".quickstart", r"did you mean experiments\.quickstart\?"),
        ("..x.y", r"give .* as .*experiments\.quickstart"),
        ("", r"give .* as .*experiments\.quickstart"),
        ("zzzz", r"give .* as .*experiments\.quickstart"),
    ],
)
def test_a_missing_recipe_is_refused_with_near_matches(target, hint):
    with pytest.raises(UsageError, match=rf"^no recipe '.*': {hint}"):
        load_recipe(target)


def test_a_recipe_whose_own_import_fails_shows_that_import(
    recipe_file, tmp_path, monkeypatch
):
    path = recipe_file("import a_module_that_is_not_here")
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_here"):
        load_recipe(path)
    assert "mine_for_a_test" not in sys.modules
    # As a module too, also where the missing name begins like the recipe's.
    monkeypatch.syspath_prepend(tmp_path)
    recipe_file("import mine_")
    with pytest.raises(ModuleNotFoundError, match="named 'mine_'"):
        load_recipe("mine_for_a_test")


def test_values_that_a_recipe_may_not_give_are_told_with_its_line(
    recipe_file, tmp_path, monkeypatch
):
    text = "import nas\n\nlatency = nas.Latency(\n    rounds=1,\n)\n"
    path = recipe_file(text)
    message = r"line [34]: latency needs batch >= 1 and rounds >= 3"
    with pytest.raises(UsageError, match=f"^recipe {path}, {message}$"):
        load_recipe(path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=f"^recipe mine_for_a_test, {message}$"):
        load_recipe("mine_for_a_test")


def test_files_that_are_no_recipes_are_refused(recipe_file, tmp_path):
    with pytest.raises(UsageError, match=r"recipe file .*absent\.py does not exist"):
        load_recipe(str(tmp_path / "absent.py"))
    with pytest.raises(UsageError, match=r"does not define `experiment = nas\.Exper"):
        load_recipe(recipe_file("answer = 42"))
    with pytest.raises(UsageError, match="does not define `experiment"):
        load_recipe(recipe_file("experiment = 42", "another_for_a_test.py"))


def test_a_recipe_file_takes_no_name_that_is_in_use(recipe_file):
    held = sys.modules["search"]
    path = recipe_file("from experiments.quickstart import experiment", "search.py")
    with pytest.raises(UsageError, match=r"name of the module 'search'.*rename"):
        load_recipe(path)
    assert sys.modules["search"] is held


def test_a_recipe_file_can_be_loaded_again_after_it_was_edited(recipe_file):
    text = "import dataclasses, experiments.quickstart as q\n"
    text += "experiment = dataclasses.replace(q.experiment, seed={})"
    assert load_recipe(recipe_file(text.format(1))).seed == 1
    # Of another length, since a compiled file is told by size and second.
    assert load_recipe(recipe_file(text.format(123))).seed == 123
