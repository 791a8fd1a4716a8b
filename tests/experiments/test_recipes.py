"""Recipes: values only, short, and with the line that runs them."""

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import experiments
from nas.config import load_recipe

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
def test_a_recipe_can_be_satisfied_before_anything_is_measured(recipe):
    experiment = load_recipe(recipe)
    assert experiment.search.bounds
    assert experiment.model.space().size.value > experiment.search.evaluations
