"""Recipes and resolved configurations: load, write as tagged JSON, compare."""

import contextlib
import dataclasses
import difflib
import importlib
import importlib.util
import json
import pkgutil
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from nas.errors import UsageError
from nas.experiment import Experiment

Encoded = dict[str, "Encoded"] | list["Encoded"] | str | int | float | bool | None

TYPE = "type"


def encode(value: object) -> Encoded:
    """Returns a JSON form in which every dataclass carries its type.

    Raises:
        TypeError: If a value has no JSON form.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)
        }
        return {TYPE: tag_of(type(value)), **fields}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [encode(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"a configuration cannot hold {value!r} of type {type(value)}")


def decode(encoded: Encoded) -> object:
    """Rebuilds what :func:`encode` wrote; lists become tuples.

    Raises:
        UsageError: If a type is not a dataclass or does not take the fields.
    """
    if isinstance(encoded, list):
        return tuple(decode(item) for item in encoded)
    if not isinstance(encoded, dict):
        return encoded
    rest = {name: decode(value) for name, value in encoded.items() if name != TYPE}
    tag = str(encoded.get(TYPE))
    kind = type_of(tag)
    try:
        return kind(**rest)
    except (TypeError, ValueError) as error:
        raise UsageError(f"configuration of {tag}: {error}") from error


def tag_of(kind: type) -> str:
    """Returns how a type is named in JSON, as ``nas.experiment:Latency``."""
    return f"{kind.__module__}:{kind.__qualname__}"


def type_of(tag: str) -> type:
    """Returns the dataclass that :func:`tag_of` named.

    Raises:
        UsageError: If there is none of that name.
    """
    module, _, name = tag.partition(":")
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"configuration of {tag}: {error}") from error
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise UsageError(f"configuration of {tag}: {tag} is not a dataclass")
    return kind


def decode_experiment(encoded: Encoded) -> Experiment:
    """Rebuilds an experiment, or raises `UsageError`."""
    experiment = decode(encoded)
    if not isinstance(experiment, Experiment):
        raise UsageError(f"config.json holds a {type(experiment)}, not an Experiment")
    return experiment


def differences(old: Encoded, new: Encoded) -> list[str]:
    """Returns one line for each field whose value differs."""
    before, after = dict(_leaves(old)), dict(_leaves(new))
    lines = []
    for name in sorted(before.keys() | after.keys()):
        was, now = before.get(name, "absent"), after.get(name, "absent")
        if was != now:
            lines.append(f"{name}: {was} -> {now}")
    return lines


def disagreements(several: Sequence[Encoded]) -> dict[str, tuple[str, ...]]:
    """Returns the values of each field that is not the same in all configurations."""
    tables = [dict(_leaves(encoded)) for encoded in several]
    names = sorted({name for table in tables for name in table})
    rows = {n: tuple(table.get(n, "absent") for table in tables) for n in names}
    return {name: values for name, values in rows.items() if len(set(values)) > 1}


def _leaves(encoded: Encoded, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(encoded, dict):
        for name, value in encoded.items():
            yield from _leaves(value, f"{path}.{name}" if path else name)
    else:
        yield path, json.dumps(encoded)


def load_recipe(target: str) -> Experiment:
    """Returns the experiment of a recipe module or file.

    Args:
        target: A module name such as ``experiments.quickstart``, or a path to a file.

    Raises:
        UsageError: If there is none; near matches are offered.
    """
    experiment = getattr(_recipe_module(target), "experiment", None)
    if not isinstance(experiment, Experiment):
        raise UsageError(
            f"recipe {target} does not define `experiment = nas.Experiment(...)`"
        )
    return experiment


def _recipe_module(target: str) -> ModuleType:
    if target.endswith(".py"):
        return _module_from_file(Path(target))
    if not all(part.isidentifier() for part in target.split(".")):
        raise UsageError(_no_recipe(target))
    try:
        return importlib.import_module(target)
    except ModuleNotFoundError as error:
        # One that the recipe itself imports is another matter.
        if not f"{target}.".startswith(f"{error.name}."):
            raise
        raise UsageError(_no_recipe(target)) from error
    except ValueError as error:
        raise UsageError(_refused(target, error)) from error


def _no_recipe(target: str) -> str:
    there = {name.rpartition(".")[2]: name for name in _neighbours(target)}
    word = re.split(r"[./\\]", target)[-1]
    if near := difflib.get_close_matches(word, there):
        hint = f"did you mean {' or '.join(there[name] for name in near)}?"
    else:
        hint = f"give a file, or a module such as {', '.join(there.values())}"
    return f"no recipe {target!r}: {hint}"


def _refused(target: str, error: ValueError) -> str:
    """Returns what is wrong with a recipe, and the last line of it that was reached."""
    name = target if target.endswith(".py") else f"{target.replace('.', '/')}.py"
    lines = [
        f", line {frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.endswith(name)
    ]
    return f"recipe {target}{lines[-1] if lines else ''}: {error}"


def _module_from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"recipe file {path} does not exist")
    specification = importlib.util.spec_from_file_location(path.stem, path)
    if specification is None or specification.loader is None:
        raise UsageError(f"recipe file {path} cannot be imported")
    module = importlib.util.module_from_spec(specification)
    # A recipe that was loaded before may be loaded again.
    held = sys.modules.get(path.stem)
    if held is not None and not isinstance(
        getattr(held, "experiment", None), Experiment
    ):
        raise UsageError(
            f"recipe file {path} has the name of the module {path.stem!r}, which is in "
            "use; rename the file"
        )
    # Registered under its name, so that its own dataclasses can be found again.
    sys.modules[path.stem] = module
    try:
        specification.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[path.stem]
        if isinstance(error, ValueError):
            raise UsageError(_refused(str(path), error)) from error
        raise
    return module


def _neighbours(target: str) -> list[str]:
    """Returns the modules beside a target, or those of experiments."""
    for package in (target.rpartition(".")[0], "experiments"):
        with contextlib.suppress(ImportError, TypeError, ValueError):
            path = getattr(importlib.import_module(package), "__path__", None)
            if path is not None:
                modules = pkgutil.iter_modules(path)
                return [f"{package}.{m.name}" for m in modules if not m.ispkg]
    return []
