"""Processes that drive Ray: how they end, and what they say."""

import sys

import pytest

from nas.drivers import drive
from nas.errors import RunError, UsageError
from nas.ray_session import PACKAGES, check_address, packages, ray_session


def ends(error, monkeypatch):
    """Returns the code that a driver ends with whose work raises an error."""
    monkeypatch.setattr(sys, "argv", ["driver", "DIR", "auto"])

    def main(arguments):
        assert arguments == ["DIR", "auto"]
        if error is not None:
            raise error

    if error is None:
        assert drive(main) is None
        return 0
    with pytest.raises(SystemExit) as ended:
        drive(main)
    return ended.value.code


@pytest.mark.parametrize(
    ("error", "code"),
    [(None, 0), (KeyboardInterrupt(), 130), (RunError("a"), 1), (UsageError("a"), 1)],
)
def test_a_driver_ends_with_the_code_of_what_happened(error, code, monkeypatch):
    assert ends(error, monkeypatch) == code


def test_what_was_foreseen_is_said_in_a_line(monkeypatch, capsys):
    ends(RunError("no cluster"), monkeypatch)
    assert capsys.readouterr().err == "nas: no cluster\n"


def test_what_nobody_foresaw_keeps_its_trace(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["driver"])

    def main(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        drive(main)


def test_ray_client_is_refused_with_what_to_do():
    with pytest.raises(UsageError, match=r"ray://head:10001.*--ray-address auto"):
        check_address("ray://head:10001")
    for address in (None, "auto", "head:6379"):
        check_address(address)


def test_packages_that_travel_are_those_that_are_imported():
    folders = packages()
    assert [folder.rpartition("/")[2] for folder in folders] == [*PACKAGES]
    assert folders[1] == sys.modules["nas"].__file__.rpartition("/")[0]


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "127.0.0.1:seven"])
def test_a_cluster_that_is_not_there_is_said_to_be_missing(address):
    message = rf"cannot join the Ray cluster at '{address}'.*ray start --head"
    with pytest.raises(RunError, match=message), ray_session(address, cpus=1):
        pass
