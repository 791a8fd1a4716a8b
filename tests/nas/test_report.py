"""The report: what it says, that it stands alone, and that it can be trusted."""

import dataclasses
import doctest
import hashlib
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from nas.report import (
    Axis,
    Campaign,
    Curve,
    Evaluated,
    Extreme,
    Landmark,
    LatencyFit,
    LatencySample,
    Member,
    ReportData,
    figures,
    words,
    write_report,
)

WIDTHS, FFN, HEADS = (128, 192, 256), (256, 512, 768, 1024), (2, 4, 8)
BOUND = 2.31
HUGE = Landmark(latency_ms=3.7, loss=2.345, measured=False)
TINY = Landmark(latency_ms=0.58, loss=2.93, measured=True)


def loss_at(latency_ms):
    return 2.24 + 0.36 / latency_ms**0.9


def pick(values, size, rng):
    rank = round((len(values) - 1) * size + rng.normal(0, 0.6))
    return values[int(np.clip(rank, 0, len(values) - 1))]


def member(index, size, latency_ms, rng):
    depth = int(np.clip(round(2 + 4 * size), 2, 6))
    params = int(3.1e5 + 2.9e6 * size**1.3)
    id_ = hashlib.sha256(str(index).encode()).hexdigest()[:8]
    return Member(
        id=id_,
        arch={
            "layers": list(range(depth)),
            "width": pick(WIDTHS, size, rng),
            "ffn": [pick(FFN, size, rng) for _ in range(depth)],
            "heads": [pick(HEADS, size, rng) for _ in range(depth)],
        },
        metrics={
            "loss": float(loss_at(latency_ms)),
            "test_loss": float(loss_at(latency_ms) + 0.031 + rng.normal(0, 0.003)),
            "latency_ms": float(latency_ms),
            "params": params,
            "macs": params * 128,
            "flops": params * 256,
            "memory_mb": params * 4 / 1e6,
        },
        predicted={"latency_ms": float(latency_ms * rng.normal(1, 0.03))},
        why="fastest of the front" if index == 0 else "no other is faster and better",
        path=f"subnets/{id_}",
        files=("model.safetensors", "arch.json", "model.stablehlo", "model.onnx"),
        verification="outputs differ by at most 2.4e-07 over 64 inputs",
    )


def extreme(label, depth, width, ffn, heads, params, id_="", known=None):
    return Extreme(
        label=label,
        arch={
            "layers": list(range(depth)),
            "width": width,
            "ffn": [ffn] * depth,
            "heads": [heads] * depth,
        },
        params=params,
        macs=params * 128,
        memory_mb=params * 4 / 1e6,
        id=id_,
        known=known,
    )


def curves(ends, steps, noise, rng):
    return tuple(
        Curve(
            label=label,
            steps=tuple(steps),
            values=tuple(
                end
                + 5.6 * math.exp(-step / 130)
                + 0.5 * math.exp(-step / 900)
                + float(rng.normal(0, noise))
                for step in steps
            ),
        )
        for label, end in ends.items()
    )


def searches(evaluated, rng):
    """Returns three campaigns and everything they evaluated."""
    ends = {"nsga2": (0.731, 0.035), "evolution": (0.712, 0.04), "random": (0.668, 0.1)}
    counts = tuple(range(10, max(evaluated // 3, 10) + 1, 10))
    campaigns = tuple(
        Campaign(
            name=name,
            algorithm=name,
            evaluations=counts,
            hypervolume=tuple(end * (1 - 0.5 * math.exp(-n / 25)) for n in counts),
        )
        for name, (end, _) in ends.items()
    )
    archive = []
    for index, latency_ms in enumerate(rng.uniform(0.6, 3.4, evaluated)):
        name = tuple(ends)[index % 3]
        excess = 0.008 + rng.gamma(1.6, ends[name][1])
        archive.append(
            Evaluated(
                latency_ms=float(latency_ms),
                loss=float(loss_at(latency_ms) + excess),
                campaign=name,
                id=f"e{index:07x}",
            )
        )
    archive.append(Evaluated(latency_ms=0.58, loss=2.95, campaign="random", id="tiny"))
    return {"campaigns": campaigns, "archive": tuple(archive)}


def latency_fit(rng):
    samples = tuple(
        LatencySample(
            id=f"s{index}",
            measured_ms=float(measured),
            predicted_ms=float(measured * rng.normal(1, 0.035)),
            held_out=index % 4 == 0,
        )
        for index, measured in enumerate(rng.uniform(0.58, 3.7, 48))
    )
    return LatencyFit(
        device="cpu (2 cores), Intel Xeon 2.8 GHz",
        inputs="1 x 128 tokens, float32",
        samples=samples,
        mape_percent=3.1,
        within_10_percent=100.0,
        kendall_tau=0.957,
        source="measured here",
    )


def report_data(members=12, evaluated=300, **changes):
    """Returns a realistic report: a byte-level decoder trained on a laptop."""
    rng = np.random.default_rng(0)
    sizes = np.linspace(0, 1, members) if members > 1 else np.zeros(members)
    front = tuple(
        member(index, 0.8 * size, 0.62 + 1.62 * size**1.25, rng)
        for index, size in enumerate(sizes)
    )
    first = front[0].path if front else "subnets/ID"
    fields = {
        "title": "Quick start: a byte-level decoder",
        "command": "nas run experiments.quickstart --out runs/quickstart --seed 0",
        "created": "2026-11-15T14:32:08+00:00",
        "facts": {
            "Device": "cpu (2 cores), Intel Xeon 2.8 GHz",
            "Versions": "nas-jax 0.1.0, jax 0.10.2, flax 0.12.8, Python 3.11.7",
            "Seed": "0",
            "Git revision": "4f1c2d9 (clean)",
            "Duration": "2 min 41 s",
        },
        "space_size": "about 4.10e+07",
        "axes": (
            Axis(name="depth", values=(2, 3, 4, 5, 6), scope="prefix"),
            Axis(name="width", values=WIDTHS, scope="global"),
            Axis(name="ffn", values=FFN, scope="per layer"),
            Axis(name="heads", values=HEADS, scope="per layer"),
        ),
        "extremes": (
            extreme("smallest", 2, 128, 256, 2, 304_512, "tiny", TINY),
            extreme("middle", 4, 192, 512, 4, 1_480_000),
            extreme("largest", 6, 256, 1024, 8, 4_860_000, "huge", HUGE),
        ),
        "constraints": (f"latency_ms <= {BOUND}",),
        "latency_bound_ms": BOUND,
        "loss_unit": "bits per byte",
        "training": curves(
            {"largest": 2.30, "smallest": 2.86, "sampled": 2.52},
            range(0, 3000, 10),
            0.06,
            rng,
        ),
        "validation": curves(
            {"largest": 2.33, "middle": 2.51, "smallest": 2.93},
            range(100, 3001, 100),
            0.0,
            rng,
        ),
        **searches(evaluated, rng),
        "front": front,
        "latency": latency_fit(rng),
        "stages": (
            ("train", 92.4),
            ("latency profile", 21.7),
            ("search", 17.2),
            ("verify", 8.8),
            ("export", 20.1),
            ("report", 1.6),
        ),
        "load_snippet": (
            "import jax.numpy as jnp\n"
            "import nas\n\n"
            f'subnet = nas.load_subnet("runs/quickstart/{first}")\n'
            "tokens = jnp.zeros((1, 128), jnp.int32)\n"
            "logits = subnet(tokens)\n\n"
            "print(subnet.arch)\n"
            "print(logits.shape)  # (1, 128, 256)\n"
        ),
    }
    return ReportData(**{**fields, **changes})


def bare_report(**changes):
    """Returns a report in which every part that may be empty is."""
    return ReportData(
        title="Bare",
        command="nas run",
        created="today",
        facts={},
        space_size="",
        **changes,
    )


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


def test_result_names_range_bound_and_distance_to_the_largest():
    data = report_data()
    assert words.result(data) == (
        "12 subnets from 0.62 to 2.24 ms and from 2.79 to 2.41 bits per byte; "
        "all within latency_ms ≤ 2.31."
    )
    detail = words.detail(data)
    assert "3.0 % more loss than the largest network" in detail
    assert "1.7 times as fast (predicted)" in detail
    assert "On test data: 2.8" in detail


def test_result_of_one_member_is_singular():
    data = report_data(members=1)
    assert words.result(data) == (
        "One subnet: 0.62 ms at 2.79 bits per byte, within latency_ms ≤ 2.31."
    )
    assert words.detail(data).startswith("It has 19 % more loss")


def test_result_counts_members_that_break_a_bound_when_measured():
    data = report_data(
        constraints=("latency_ms <= 1 (asked: latency_ms<=27%)", "params<=1e9")
    )
    assert "; 4 of 12 within latency_ms ≤ 1 and params≤1e9." in words.result(data)
    unknown = report_data(constraints=("energy_mj <= 3",))
    assert words.result(unknown).endswith(", searched under energy_mj ≤ 3.")


def test_result_without_members_says_so():
    data = report_data(members=0)
    assert words.result(data) == (
        "The search found no subnet that satisfies latency_ms ≤ 2.31."
    )
    assert words.detail(data) == ""


def test_largest_network_on_the_front_is_not_compared_with_itself():
    data = report_data()
    last = dataclasses.replace(data.front[-1], id="huge")
    data = dataclasses.replace(data, front=(*data.front[:-1], last))
    assert "is the largest network itself" in words.detail(data)


def test_landmark_is_what_its_extreme_knows():
    data = report_data()
    assert data.landmark("largest") == HUGE
    assert data.landmark("middle") is None


@pytest.mark.parametrize(
    "draw",
    [
        figures.front_figure,
        figures.training_figure,
        figures.search_figure,
        figures.latency_figure,
    ],
)
def test_every_axis_is_labelled_and_has_numbers(draw):
    figure = draw(report_data())
    assert figure.axes
    for axes in figure.axes:
        assert axes.get_xlabel()
        assert axes.get_ylabel()
        assert len(axes.get_xticks()) > 2
    titles = [part.get_label() for part in (figure, *figure.subfigs)]
    assert any(titles)


def test_figures_name_units_and_lines():
    data = report_data()
    front = figures.front_figure(data).axes[0]
    assert "(ms)" in front.get_xlabel()
    assert front.get_ylabel() == "Loss (bits per byte), lower is better"
    texts = {text.get_text() for text in front.texts}
    assert {str(number) for number in range(1, 13)} <= texts
    assert {"smallest", "largest", "excluded:\nover 2.31 ms"} <= texts
    training, validation = figures.training_figure(data).axes
    assert {t.get_text() for t in training.texts} == {"largest", "smallest", "sampled"}
    assert {t.get_text() for t in validation.texts} == {"largest", "middle", "smallest"}
    search = figures.search_figure(data).axes[0]
    assert {t.get_text() for t in search.texts} == {"nsga2", "evolution", "random"}
    latency = figures.latency_figure(data).axes[0]
    assert "Kendall τ 0.96" in latency.texts[0].get_text()
    assert "(ms)" in latency.get_xlabel()
    assert "(ms)" in latency.get_ylabel()


def test_title_of_the_search_compares_at_equal_evaluations():
    short = Campaign(
        name="random", algorithm="random", evaluations=(10, 20), hypervolume=(0.4, 0.5)
    )
    long = Campaign(
        name="nsga2", algorithm="nsga2", evaluations=(20, 90), hypervolume=(0.45, 0.9)
    )
    title = figures.search_title(bare_report(campaigns=(short, long)))
    assert title == "nsga2 ends 10 % below random search"


def test_far_largest_network_is_named_at_the_edge():
    data = report_data()
    far = dataclasses.replace(data.extremes[-1], known=HUGE._replace(latency_ms=40.0))
    data = dataclasses.replace(data, extremes=(*data.extremes[:-1], far))
    axes = figures.front_figure(data).axes[0]
    assert axes.get_xlim()[1] < 6
    assert "largest: 40.0 ms, 2.35 →" in {text.get_text() for text in axes.texts}
    assert any("not in view" in text.get_text() for text in axes.texts)


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
    lost = Evaluated(latency_ms=1.0, loss=math.nan, campaign="elsewhere", id="x")
    page = page_of(
        dataclasses.replace(
            data, front=(odd, data.front[1]), archive=(*data.archive, lost)
        ),
        tmp_path,
    )
    assert page.count(f'<span data-unit="">{words.MISSING}</span>') == 1
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.S).lower()


def test_long_runs_stay_small_and_quick(tmp_path):
    steps = tuple(range(20_000))
    training = (Curve(label="largest", steps=steps, values=(2.5,) * len(steps)),)
    page = page_of(report_data(members=60, evaluated=5000, training=training), tmp_path)
    assert len(page) < 1_500_000


def test_histories_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match=r"'largest' has 2 steps but 1 values"):
        Curve(label="largest", steps=(1, 2), values=(0.5,))
    with pytest.raises(ValueError, match=r"'a' has 1 evaluations but 0 hypervolume"):
        Campaign(name="a", algorithm="a", evaluations=(1,), hypervolume=())


def test_latency_figure_without_a_model_says_what_is_missing():
    with pytest.raises(ValueError, match="no latency model"):
        figures.latency_figure(bare_report())


def test_numbers_are_written_for_people():
    assert words.count(1_048_576) == "1.05 M"
    assert words.count(999_999) == "1.00 M"
    assert words.count(12) == "12"
    assert words.significant(0.000123) == "0.000123"
    assert words.significant(0.6) == "0.60"
    assert words.significant(-2.409) == "-2.41"
    assert words.significant(math.inf) == words.MISSING
    assert words.column([2.41, 2.411, None]) == ["2.410", "2.411", words.MISSING]
    assert words.column([1, 2.0001], like=[1.0]) == ["1.00", "2.00"]
    assert words.duration(59.96) == "1 min 00 s"
    assert words.duration(86_461) == "24 h 01 min"
    assert words.moment("yesterday") == "yesterday"
    assert words.architecture({"layers": [0, 3], "norm": "rms"}) == [
        ("layers", "2 (0, 3)"),
        ("norm", "rms"),
    ]


def test_examples_in_the_docstrings_hold():
    assert doctest.testmod(words).failed == 0


def test_importing_the_report_loads_no_drawing():
    code = (
        "import sys, nas; known = set(sys.modules); import nas.report; "
        "new = set(sys.modules) - known; print(new & {'jax', 'flax', 'matplotlib'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "set()"
