"""Provenance: what a reader needs to make a run again."""

import json
import platform
import re
import shutil
import subprocess

import jax
import numpy as np

from nas import provenance as module
from nas.provenance import PACKAGES, git_revision, processor, provenance


def test_provenance_holds_command_seed_data_versions_and_devices():
    stored = provenance(command="nas run x", seed=3, data_digest="abc")
    assert stored.keys() == {
        "command",
        "seed",
        "data",
        "python",
        "platform",
        "processor",
        "devices",
        "backend",
        "packages",
        "git",
    }
    given = {"command": "nas run x", "seed": 3, "data": "abc"}
    assert given.items() <= stored.items()
    assert stored["python"] == platform.python_version()
    assert stored["backend"] == jax.default_backend()
    assert len(stored["devices"]) == jax.device_count()
    assert stored["packages"].keys() == set(PACKAGES)
    assert stored["packages"]["jax"] == jax.__version__
    assert stored["packages"]["numpy"] == np.__version__
    assert all(re.match(r"\d+\.\d+", v) for v in stored["packages"].values())
    assert json.loads(json.dumps(stored)) == stored


def test_a_package_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setattr(module, "PACKAGES", ("no-such-package-of-ours",))
    packages = provenance(command="", seed=0, data_digest="")["packages"]
    assert packages == {"no-such-package-of-ours": "not installed"}


def test_the_processor_has_a_name():
    assert processor()


def repository(path):
    """Makes a checkout with one file and returns a function that runs git there."""

    def git(*words):
        who = [
            "-c",
            "user.name=x",
            "-c",
            "user.email=x@x",
            "-c",
            "commit.gpgsign=false",
        ]
        line = ["git", "-C", str(path), *who]
        done = subprocess.run([*line, *words], check=True, capture_output=True)
        return done.stdout.decode().strip()

    (path / "nas").mkdir()
    source = path / "nas" / "provenance.py"
    source.write_text("")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    return git, source


def test_the_revision_says_whether_the_tree_was_changed(tmp_path, monkeypatch):
    git, source = repository(tmp_path)
    monkeypatch.setattr(module, "__file__", str(source))
    head = git("rev-parse", "--short=12", "HEAD")
    assert git_revision() == head
    (tmp_path / "notes.txt").write_text("untracked files change nothing")
    assert git_revision() == head
    source.write_text("changed")
    assert git_revision() == f"{head} with changes"


def test_outside_a_checkout_there_is_no_revision(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "__file__", str(tmp_path / "nas" / "provenance.py"))
    (tmp_path / "nas").mkdir()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_revision() == ""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert git_revision() == ""
