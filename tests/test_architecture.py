"""The shape of the repository: what imports what, and what lies where."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("experiments", "kernels", "nas", "search", "supernets")

TOP_LEVEL = {
    *PACKAGES,
    "tests",
    ".ci",
    ".github",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "pyproject.toml",
}

LINES = 400


def tracked():
    """Paths that git tracks, or a skip where this is no checkout."""
    line = ["git", "-C", str(ROOT), "ls-files"]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [Path(name) for name in done.stdout.splitlines()]


def test_imports_point_one_way():
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert " 0 broken" in done.stdout


def test_the_contracts_name_every_module_of_the_search():
    """A new algorithm would otherwise be open to supernets."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    (contract,) = [c for c in contracts if c.get("source_modules") == ["supernets"]]
    paths = [*(ROOT / "search").glob("[!_]*.py"), *(ROOT / "search").glob("*/")]
    modules = {f"search.{path.stem}" for path in paths if path.name != "__pycache__"}
    assert set(contract["forbidden_modules"]) == modules - {"search.space"}


@pytest.mark.parametrize("package", PACKAGES)
def test_files_stay_short(package):
    lengths = {
        path.relative_to(ROOT): len(path.read_text().splitlines())
        for path in (ROOT / package).rglob("*.py")
    }
    assert lengths
    assert {path: n for path, n in lengths.items() if n > LINES} == {}


def test_packages_are_the_ones_of_this_repository():
    """Their names are general: another distribution could be in front of them."""
    for name in PACKAGES:
        module = __import__(name)
        assert Path(module.__file__).parent == ROOT / name


def test_only_known_names_lie_at_the_top():
    assert {path.parts[0] for path in tracked()} <= TOP_LEVEL


def test_what_was_built_or_downloaded_is_not_tracked():
    endings = (".safetensors", ".npy", ".stablehlo", ".onnx", ".lock", ".pyc", ".zip")
    assert [path for path in tracked() if path.name.endswith(endings)] == []
