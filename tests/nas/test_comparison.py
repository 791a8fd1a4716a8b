"""Runs beside each other: what is compared, and what is refused."""

import dataclasses
import io
import json

import pytest
from rich.console import Console

from nas.comparison import Contender, compare, gather
from nas.config import disagreements
from nas.data import Digits
from nas.errors import UsageError
from nas.experiment import Experiment, Search
from nas.front import Member, write_front
from nas.rundir import RunDirectory, write_json
from search.space import Architecture
from supernets.decoder.spec import Decoder
from supernets.vision.spec import VisionTransformer

SIZES = {"width": (8, 16), "heads": (1, 2), "ffn": (8, 16), "depth": (1, 2)}
EXPERIMENT = Experiment(model=Decoder(**SIZES, head_dim=4))
IMAGES = Experiment(
    model=VisionTransformer(**SIZES, head_dim=4, image=(8, 8, 1)), data=Digits()
)
POINTS = ((3.0, 1.0), (2.0, 2.0), (1.5, 4.0))


def members(points, **extra):
    return [
        Member(
            Architecture((0,), (("width", 8 * index),), ()),
            {"loss": loss, "test_loss": loss + 0.1, "latency_ms": ms, "params": 9.0}
            | extra,
            {"latency_ms": ms},
            "",
        )
        for index, (loss, ms) in enumerate(points, start=1)
    ]


def run_at(path, points=POINTS, experiment=EXPERIMENT, **extra):
    run = RunDirectory(path)
    run.claim(experiment)
    write_front(run.front, members(points, **extra))
    return run.path


def searched(**values):
    search = dataclasses.replace(EXPERIMENT.search, **values)
    return dataclasses.replace(EXPERIMENT, search=search)


def compared(*paths, out):
    console = Console(file=io.StringIO())
    compare(paths, out, console)
    return console.file.getvalue()


def test_a_page_shows_fronts_volumes_facts_and_differences(tmp_path):
    first = run_at(tmp_path / "wide")
    other = searched(constraints=("params <= 50%",), evaluations=64)
    second = run_at(tmp_path / "deep", [(2.5, 1.5), (1.8, 3.0)], other)
    out = tmp_path / "pages" / "two.html"
    assert "two.html" in compared(first, second, out=out)
    page = out.read_text()
    for text in (
        "Comparison of 2 runs",
        "wide has the best front",
        "search.evaluations",
        "params &lt;= 50%",
        "64 subnets by each of 2 campaigns",
        "The fronts of 2 runs: loss against latency",
    ):
        assert text in page
    assert "search.baseline" not in page
    assert "Before you rely" not in page
    assert "://" not in page.replace("http://www.w3.org", "")


def test_fronts_are_drawn_against_what_was_searched_for(tmp_path):
    small = searched(objectives=("loss", "size_mb"), constraints=())
    first = run_at(tmp_path / "a", experiment=small, size_mb=0.03)
    second = run_at(tmp_path / "b", experiment=small, size_mb=0.02)
    compared(first, second, out=tmp_path / "two.html")
    page = (tmp_path / "two.html").read_text()
    for text in (
        "loss against size",
        "Size of the stored weights (kB), lower is better",
        "Smallest <small>kB</small>",
        "Its size <small>kB</small>",
        "<td>30.00</td>",
    ):
        assert text in page
    assert "atency" not in page.replace("latency_ms", "")


def test_hypervolumes_have_one_reference_behind_all_fronts(tmp_path):
    paths = [run_at(tmp_path / "a"), run_at(tmp_path / "b", [(2.0, 2.0)])]
    data = gather([Contender.load(path) for path in paths])
    loss, latency = data.reference.values()
    assert (loss, latency) == (pytest.approx(3.15), pytest.approx(4.3))
    assert data.runs[1].hypervolume == pytest.approx((3.15 - 2) * (4.3 - 2))
    assert data.runs[0].hypervolume > data.runs[1].hypervolume
    assert data.differences == {}


def test_one_front_against_itself_has_a_volume(tmp_path):
    paths = [run_at(tmp_path / name, [(2.0, 2.0)]) for name in ("a", "b")]
    one, two = gather([Contender.load(path) for path in paths]).runs
    assert one.hypervolume == two.hypervolume > 0


def test_results_that_were_set_aside_compare_with_those_of_today(tmp_path):
    run = RunDirectory(run_at(tmp_path / "run"))
    write_json(run.device, {"device": "phone"})
    earlier = run_at(run.earlier / "1", [(2.9, 1.1)], searched(evaluations=8))
    data = gather([Contender.load(run.path), Contender.load(earlier)])
    assert [one.name.rpartition("/")[2] for one in data.runs] == ["run", "1"]
    assert data.warnings == ()
    assert data.differences == {"search.evaluations": ("256", "8")}


def test_what_runs_do_not_have_in_common_is_told(tmp_path):
    first, second = run_at(tmp_path / "a"), run_at(tmp_path / "b")
    write_json(second / "device.json", {"device": "phone"})
    told = gather([Contender.load(first), Contender.load(second)]).warnings
    assert told == ("The latencies are of different devices (a: unknown; b: phone).",)


def other_objectives(path):
    return run_at(path, experiment=searched(objectives=("loss", "params")))


def other_unit(path):
    search = Search(objectives=("loss", "latency_ms"))
    return run_at(path, experiment=dataclasses.replace(IMAGES, search=search))


def no_front(path):
    RunDirectory(path).claim(EXPERIMENT)
    return path


def empty_front(path):
    return run_at(path, ())


def damaged_front(path):
    run_at(path)
    (path / "front.json").write_text("[{")
    return path


def front_without_latency(path):
    run_at(path)
    entries = json.loads((path / "front.json").read_text())
    del entries[1]["metrics"]["latency_ms"]
    write_json(path / "front.json", entries)
    return path


def damaged_configuration(path):
    run_at(path)
    (path / "config.json").write_text("{")
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (other_objectives, r"the objectives differ: .*'latency_ms'\) in .*params"),
        (
            other_unit,
            r"unit of the loss differ: bits per byte in .* nats per image",
        ),
        (no_front, r"front\.json is missing: search this run first"),
        (empty_front, r"holds no subnet"),
        (damaged_front, r"front\.json is damaged"),
        (front_without_latency, r"has no 'latency_ms'"),
        (damaged_configuration, r"other cannot be read .*config\.json is damaged"),
        (lambda path: path, r"is not a run directory"),
        (lambda path: path.parent / "one", r"is given twice; name each run once"),
        (lambda path: path.parent / "x" / ".." / "one", r"is given twice as "),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path, make, message):
    one, out = run_at(tmp_path / "one"), tmp_path / "out.html"
    (tmp_path / "x").mkdir()
    with pytest.raises(UsageError, match=message):
        compared(one, make(tmp_path / "other"), out=out)
    assert not out.exists()


def test_a_page_needs_a_file_and_two_runs(tmp_path):
    one, two = run_at(tmp_path / "one"), run_at(tmp_path / "two")
    with pytest.raises(UsageError, match="is a directory; give a file"):
        compared(one, two, out=tmp_path)
    with pytest.raises(UsageError, match="at least two"):
        compared(one, out=tmp_path / "out.html")


def test_fields_disagree_by_name():
    first = {"a": 1, "b": {"c": [1, 2]}}
    assert disagreements([first, first]) == {}
    assert disagreements([first, {"a": 1, "b": {}, "d": "x"}, first]) == {
        "b.c": ("[1, 2]", "absent", "[1, 2]"),
        "d": ("absent", '"x"', "absent"),
    }
