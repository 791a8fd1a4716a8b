"""Recipes: values only, short, and with the line that runs them."""

import ast
import importlib
import inspect
import io
import pkgutil
from pathlib import Path

import pytest
from flax import nnx
from rich.console import Console

import experiments
from nas.config import load_recipe
from nas.metrics import make_problem
from nas.show import show
from supernets.collection import require_used
from supernets.network import Supernet
from supernets.slots import require_draw

RECIPES = [
    f"experiments.{module.name}"
    for module in pkgutil.iter_modules(experiments.__path__)
    if not module.ispkg
]


def source_of(recipe):
    return Path(importlib.import_module(recipe).__file__).read_text()


def test_the_quick_start_is_there():
    assert "experiments.quickstart" in RECIPES


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_says_how_it_is_run(recipe):
    assert f"nas run {recipe}" in inspect.getdoc(importlib.import_module(recipe))


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_is_values_only_and_short(recipe):
    text = source_of(recipe)
    assert len(text.splitlines()) < 100
    logic = (ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.If, ast.For, ast.While)
    assert not [node for node in ast.walk(ast.parse(text)) if isinstance(node, logic)]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_has_something_to_search(recipe):
    experiment = load_recipe(recipe)
    space = experiment.model.space()
    if experiment.latency.measures_all(space):
        # Every member is evaluated and measured: there is nothing to bound.
        assert experiment.search.evaluations == space.size.value
    else:
        assert experiment.search.bounds
        assert space.size.value > experiment.search.evaluations
        problem = make_problem(experiment, None)
        assert problem.feasible(space.smallest[None])[0]


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_supernet_of_a_recipe_is_built_and_uses_its_whole_space(recipe):
    model = load_recipe(recipe).model
    supernet = nnx.eval_shape(lambda: model.build(rngs=nnx.Rngs(0)))
    assert isinstance(supernet, Supernet)
    require_used(model.space(), supernet)


@pytest.mark.parametrize("recipe", RECIPES)
def test_steps_of_a_recipe_are_planned_from_the_first_to_the_last(recipe):
    experiment = load_recipe(recipe)
    plan, space = experiment.plan(), experiment.model.space()
    for number in (0, plan.steps - 1):
        step = plan.step(number)
        require_draw(step.draw, plan.phases[step.phase].slots(space), space)
    assert plan.step(plan.steps - 1).phase == len(plan.phases) - 1


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_is_shown_without_training(recipe):
    experiment = load_recipe(recipe)
    console = Console(file=io.StringIO(), width=120)
    show(experiment, console)
    shown = console.file.getvalue()
    assert str(experiment.model.space().size) in shown
    assert f"objectives: {', '.join(experiment.search.objectives)}" in shown
    for phase in experiment.train.phases:
        assert type(phase.policy).__name__ in shown
