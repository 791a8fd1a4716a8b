"""The public names: which they are, that each is documented, and what they cost."""

import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import nas

NAMES = [
    "Adafactor",
    "AdamW",
    "AdversarialDistillation",
    "AlphaDivergence",
    "Architecture",
    "ArrayRecords",
    "Attentive",
    "Augmentation",
    "BestOf",
    "Chain",
    "Choice",
    "Constant",
    "ConstrainedGenetic",
    "Cosine",
    "CrossEntropy",
    "Decoder",
    "Depth",
    "DigitPairs",
    "DigitTasks",
    "Digits",
    "Dirichlet",
    "Distillation",
    "Ensemble",
    "Exhaustive",
    "ExitLoss",
    "Experiment",
    "FeatureDistillation",
    "FineTune",
    "FullOrSubnet",
    "GaussianProcess",
    "GradientSearch",
    "Gumbel",
    "ImageArrays",
    "ImageFolder",
    "InfeasibleError",
    "LargestOnly",
    "Latency",
    "Linear",
    "Lion",
    "LocalSearch",
    "Losses",
    "MatFormer",
    "MeanBudget",
    "Member",
    "MixAndMatch",
    "MultiTask",
    "Multipliers",
    "Nsga2",
    "Optuna",
    "Parallel",
    "Pgd",
    "Phase",
    "Precision",
    "RandomSearch",
    "Reading",
    "Regularization",
    "RegularizedEvolution",
    "Result",
    "Retrain",
    "Ridge",
    "Rule",
    "RunError",
    "Sandwich",
    "Search",
    "Sgd",
    "Softmax",
    "Sorted",
    "Space",
    "Sparsemax",
    "StdlibText",
    "SuccessiveHalving",
    "SurrogateEvolution",
    "Task",
    "TokenShards",
    "Trades",
    "Training",
    "TuneSearcher",
    "Uniform",
    "UsageError",
    "VisionTransformer",
    "WarmupStableDecay",
    "load_run",
    "load_subnet",
    "progressive",
    "run",
    "write_image_records",
]

PACKAGES = ("experiments", "kernels", "nas", "search", "supernets")


def modules():
    """Returns the names of all modules of the library."""
    names = list(PACKAGES)
    for name in PACKAGES:
        path = importlib.import_module(name).__path__
        names += [module.name for module in pkgutil.walk_packages(path, f"{name}.")]
    # Running this one is the command.
    names.remove("nas.__main__")
    return names


def test_the_public_names_are_these():
    # Submodules are reachable too; they are not names that are promised.
    public = [
        name
        for name, value in vars(nas).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    ]
    assert sorted(public) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_documented(name):
    value = getattr(nas, name)
    documentation = inspect.getdoc(value)
    assert documentation
    # Not the signature that a dataclass writes for itself.
    assert not documentation.startswith(f"{name}(")
    methods = (
        inspect.getmembers(value, inspect.isfunction) if inspect.isclass(value) else ()
    )
    for method, function in methods:
        ours = function.__module__.partition(".")[0] in PACKAGES
        if ours and not method.startswith("_"):
            assert inspect.getdoc(function), f"{name}.{method}"


@pytest.mark.parametrize("name", modules())
def test_every_module_is_documented_and_its_examples_hold(name):
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "qwix"):
            raise
        pytest.skip(f"{error.name} is only in the environment that a comparison builds")
    assert inspect.getdoc(module)
    result = doctest.testmod(module)
    assert result.failed == 0


def test_there_are_examples_to_run():
    finder = doctest.DocTestFinder()
    for name in ("search.constraints", "search.space.space"):
        found = finder.find(importlib.import_module(name))
        assert any(test.examples for test in found), name


def test_importing_the_package_starts_no_array_library():
    line = "import sys, nas; print(*{'jax', 'flax', 'optax', 'ray'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", line], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
