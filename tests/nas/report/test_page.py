"""The page: what it says, that it stands alone, and that it can be trusted."""

import dataclasses
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from nas.report import (
    Axis,
    Campaign,
    Curve,
    Evaluated,
    PhaseMark,
    words,
    write_report,
)
from tests.nas.report.samples import bare_report, precise_report, report_data


def page_of(data, directory):
    write_report(data, directory)
    return (directory / "report.html").read_text()


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """The full report's directory and page, drawn once."""
    directory = tmp_path_factory.mktemp("report")
    return directory, page_of(report_data(), directory)


def test_page_needs_nothing_outside_itself(full):
    _, page = full
    addresses = re.findall(r'(?:src|href|action|data|poster)\s*=\s*"([^"]*)"', page)
    assert addresses
    assert all(address.startswith("#") for address in addresses)
    assert all(a.startswith("#") for a in re.findall(r"url\(([^)]*)\)", page))
    without_namespaces = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert not re.search(r"https?:|//\w|@import|<link|<img|<iframe", without_namespaces)


def test_every_link_inside_the_page_has_one_target(full):
    _, page = full
    identifiers = re.findall(r'\bid="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers))
    assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page)[0]) - {""}
    for pair in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page):
        assert (pair[0] or pair[1]) in identifiers


def test_page_shows_every_member_with_units(full):
    _, page = full
    data = report_data()
    body = page.split("<tbody>")[1].split("</tbody>")[0]
    rows = re.findall(r"<tr id=\"subnet-.*?</tr>", body, flags=re.S)
    assert len(rows) == len(data.front)
    for row, shown in zip(rows, data.front, strict=True):
        assert shown.id in row
        assert shown.why in row
        assert f"{shown.metrics['latency_ms']:.2f}" in row
        assert f"({shown.predicted['latency_ms']:.2f})" in row
        assert words.count(shown.metrics["params"]) in row
        assert words.count(shown.metrics["macs"]) in row
        assert "subnets/" in row
    header = page.split("<thead>")[1].split("</thead>")[0]
    for text in ("Test loss", "Search loss", "bits per byte", "ms", "MACs", "MB"):
        assert text in header


def test_scores_after_fine_tuning_stand_beside_those_before(full, tmp_path):
    assert "Fine-tuned" not in full[1]
    assert "exported</small>" not in full[1]
    data = report_data(members=2, evaluated=0)
    front = tuple(
        dataclasses.replace(
            member,
            metrics={**member.metrics, "finetuned_test_loss": 2.125},
            weights=weights,
        )
        for member, weights in zip(data.front, ("finetuned", "inherited"), strict=True)
    )
    page = page_of(dataclasses.replace(data, front=front), tmp_path)
    assert "Fine-tuned test loss" in page
    tuned, inherited = re.findall(r"<td[^>]*>[^/]*</span> <small>exported", page)
    assert ("2.1" in tuned, "Fine-tuned" in tuned) == (True, True)
    assert 'data-name="Test loss"' in inherited


def test_page_says_how_it_came_about(full):
    _, page = full
    data = report_data()
    assert data.command in page
    assert "2026-11-15 14:32 UTC" in page
    for name, value in data.facts.items():
        assert name in page
        assert value in page
    assert "1 min 32 s" in page
    assert "latency_ms ≤ 2.31" in page
    assert "model.safetensors" in page
    assert "measured here" in page


def test_page_says_which_subnets_were_validated(full, tmp_path):
    assert "panel.json" not in full[1]
    validation = tuple(
        Curve(label=label, steps=(0, 1), values=(3.0, 2.0), cost=cost)
        for label, cost in (("smallest", 1e5), ("largest", 1e6))
    )
    page = page_of(bare_report(validation=validation), tmp_path)
    assert "the same 2 subnets throughout" in page
    assert "panel.json" in page
    # Dark paper needs the scale of costs too.
    assert "var(--cost-0)" in page
    assert page.count("--cost-0:") == 2


def test_front_picture_is_a_valid_png(full):
    directory, _ = full
    content = (directory / "front.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert content.endswith(b"IEND\xaeB`\x82")
    width, height = (int.from_bytes(content[i : i + 4]) for i in (16, 20))
    assert width > 1500
    assert height > 900


def test_equal_data_gives_equal_bytes_and_no_leftovers(full, tmp_path):
    directory, _ = full
    write_report(report_data(), tmp_path / "again")
    names = {path.name for path in (tmp_path / "again").iterdir()}
    assert names == {"report.html", "front.png"}
    for name in names:
        first, second = directory / name, tmp_path / "again" / name
        assert first.read_bytes() == second.read_bytes()


def test_failed_write_keeps_the_previous_page(tmp_path, monkeypatch):
    (tmp_path / "report.html").write_text("previous")

    monkeypatch.setattr(os, "replace", mock.Mock(side_effect=OSError("disk is full")))
    with pytest.raises(OSError, match="disk is full"):
        write_report(bare_report(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text() == "previous"


def test_hostile_text_is_escaped_everywhere(tmp_path):
    evil = "<script>alert(1)</script>\"'&$x_1$%s{{ 7*7 }}</style>漢"
    data = report_data(members=2, evaluated=9)
    shown = dataclasses.replace(
        data.front[0],
        id=evil,
        arch={"layers": [0], evil: evil, "ffn": [evil]},
        why=evil,
        path=evil,
        files=(evil,),
        verification=evil,
    )
    page = page_of(
        dataclasses.replace(
            data,
            title=evil,
            command=evil,
            created=evil,
            facts={evil: evil},
            space_size=evil,
            axes=(Axis(name="ffn", values=(evil,), scope=evil),),
            constraints=(evil,),
            loss_name=evil,
            loss_unit=evil,
            training=(Curve(label=evil, steps=(0, 1), values=(1.0, 2.0)),),
            validation=(Curve(label=evil, steps=(0, 1), values=(1.0, 2.0), cost=5),),
            phases=(PhaseMark(0, evil), PhaseMark(1, evil)),
            campaigns=(
                Campaign(
                    name=evil, algorithm=evil, evaluations=(1,), hypervolume=(0.5,)
                ),
            ),
            front=(shown, data.front[1]),
            latency=dataclasses.replace(data.latency, device=evil, source=evil),
            stages=((evil, 1.0),),
            load_snippet=evil,
            warnings=(evil,),
        ),
        tmp_path,
    )
    assert page.count("<script") == 1
    assert page.count("</style>") == 1
    assert "alert(1)&lt;/script&gt;" in page
    assert "{{ 7*7 }}" in page
    assert "49" not in re.findall(r"<h1>(.*?)</h1>", page)[0]


def test_further_devices_have_a_column_and_say_what_they_rest_on(tmp_path):
    data = report_data(members=2)
    front = tuple(
        dataclasses.replace(
            member,
            metrics={**member.metrics, "latency_ms_phone": 20.0 + row},
            predicted={**member.predicted, "latency_ms_phone": 20.0 * (1 + row)},
        )
        for row, member in enumerate(data.front)
    )
    phone = dataclasses.replace(
        data.latency, device="phone (Pixel)", samples=(), error=None, kind="roofline"
    )
    page = page_of(
        dataclasses.replace(
            data,
            front=front,
            devices=(phone,),
            further=(("latency_ms_phone", "Latency, phone", "ms"),),
        ),
        tmp_path,
    )
    assert "Latency, phone" in page
    assert "(20.00)" in page
    # The second was predicted 40 ms and takes 21.
    assert "(40.00, 90 % off)" in page
    assert "phone (Pixel); 1 x 128 tokens, float32; measured here. Roofline of" in page


@pytest.mark.slow
def test_costs_that_were_searched_for_have_a_column(full, tmp_path):
    assert "Mean bits" not in full[1]
    page = page_of(precise_report("bops", 3.1e9), tmp_path)
    header = re.sub(r"<[^>]*>", " ", page.split("<thead>")[1].split("</thead>")[0])
    assert header.index("Bit operations") < header.index("Mean bits")
    assert header.index("Mean bits") < header.index("Latency")
    row = page.split('<tr id="subnet-')[1].split("</tr>")[0]
    assert "1.92 G" in row
    assert "weight bits" in row
    assert "weight_bits" not in page
    space = page.split('<section id="space">')[1]
    assert '<th scope="col">Bit operations</th>' in space
    assert "11.5 G</td>" in space
    assert "measured on the front" not in page


def test_empty_parts_leave_no_heading(tmp_path):
    page = page_of(bare_report(), tmp_path)
    assert "<h2" not in page
    assert "<table" not in page
    assert 'class="plot"' not in page
    assert (tmp_path / "front.png").exists()


def test_headings_follow_the_parts_that_exist(full, tmp_path):
    headings = lambda page: re.findall(r"<h2>(.*?)</h2>", page)  # noqa: E731
    expected = ["Subnets", "Load one", "Training", "Search", "Latency model"]
    assert headings(full[1]) == [*expected, "Space", "Run"]
    partial = report_data(members=1, evaluated=0, campaigns=(), latency=None, axes=())
    partial = dataclasses.replace(
        partial, extremes=(), training=(), warnings=("Two workers died.",)
    )
    page = page_of(partial, tmp_path)
    assert headings(page) == [
        "Before you rely on this",
        "Subnets",
        "Load one",
        "Training",
        "Run",
    ]
    assert "Two workers died." in page


def test_unknown_and_undefined_numbers_become_dashes(tmp_path):
    data = report_data(members=2, evaluated=5)
    metrics = {**data.front[0].metrics, "test_loss": math.nan}
    del metrics["params"]
    odd = dataclasses.replace(data.front[0], metrics=metrics, predicted={})
    lost = Evaluated(cost=1.0, score=math.nan, campaign="elsewhere", id="x")
    page = page_of(
        dataclasses.replace(
            data, front=(odd, data.front[1]), archive=(*data.archive, lost)
        ),
        tmp_path,
    )
    assert page.count(f'<span data-unit="">{words.MISSING}</span>') == 1
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.S).lower()


@pytest.mark.slow
def test_long_runs_stay_small_and_quick(tmp_path):
    steps = tuple(range(20_000))
    training = (Curve(label="largest", steps=steps, values=(2.5,) * len(steps)),)
    page = page_of(report_data(members=60, evaluated=5000, training=training), tmp_path)
    assert len(page) < 1_500_000


def test_importing_the_report_loads_no_drawing():
    code = (
        "import sys, nas; known = set(sys.modules); import nas.report; "
        "new = set(sys.modules) - known; print(new & {'jax', 'flax', 'matplotlib'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "set()"
