"""Tables of latencies that somebody measured elsewhere: read, fitted, refused."""

import json

import numpy as np
import pytest

from nas.errors import UsageError
from nas.experiment import Experiment, Latency, Search
from nas.latency.table import (
    read_table,
    rows_for_a_model,
    table_profile,
    write_template,
)
from search.space import Choice, Depth, Space
from supernets.decoder.spec import Decoder

MODEL = Decoder(width=(8, 16), heads=(1, 2), ffn=(8, 16), depth=(1, 2), head_dim=4)
SPACE = MODEL.space()
EXPERIMENT = Experiment(
    model=MODEL, latency=Latency(batch=2), search=Search(constraints=())
)
TERMS = MODEL.latency_terms(SPACE.largest[None]).shape[1]

HEAD = "depth,width,heads.0,heads.1,ffn.0,ffn.1,latency_ms\n"


def written(tmp_path, text):
    path = tmp_path / "phone.csv"
    path.write_text(text)
    return path


def row_of(genotype, latency):
    arch = json.dumps(SPACE.decode(genotype).to_json()).replace('"', '""')
    return f'"{arch}",{latency!r}\n'


def table_of(tmp_path, genotypes, latencies):
    rows = map(row_of, genotypes, latencies)
    return written(tmp_path, "arch,latency_ms\n" + "".join(rows))


def test_a_row_says_its_subnet_by_a_column_for_each_choice(tmp_path):
    text = HEAD + "2,16,1,2,8,16,3.5\n 1 , 8, 1, , 16,,2\n\n"
    found = read_table(written(tmp_path, text), SPACE)
    assert found == {(1, 1, 0, 1, 0, 1): 3.5, (0, 0, 0, 0, 1, 0): 2.0}


def test_a_row_says_its_subnet_by_the_json_of_its_architecture(tmp_path):
    members = SPACE.enumerate()
    path = table_of(tmp_path, members, np.arange(1.0, len(members) + 1).tolist())
    expected = {tuple(m.tolist()): i + 1.0 for i, m in enumerate(members)}
    assert read_table(path, SPACE) == expected


def test_layers_that_run_may_be_listed_and_must_be_under_the_free_rule(tmp_path):
    text = HEAD.replace("depth", "layers") + '"[0]",8,1,,8,,1.5\n'
    assert read_table(written(tmp_path, text), SPACE) == {(0, 0, 0, 0, 0, 0): 1.5}
    width = Choice("width", (8, 16))
    free = Space((width,), layers=3, depth=Depth((1, 2), "free"))
    text = 'layers,width,latency_ms\n"[0, 2]",16,1.5\n'
    assert read_table(written(tmp_path, text), free) == {(1, 0, 1, 1): 1.5}
    with pytest.raises(UsageError, match=r"lacks the columns \['layers'\]"):
        read_table(written(tmp_path, "depth,width,latency_ms\n1,8,1\n"), free)


def test_values_may_be_words(tmp_path):
    space = Space((Choice("norm", ("layer", "rms")), Choice("bias", (False, True))))
    text = "norm,bias,latency_ms\nrms,False,1\nlayer,True,2\n"
    assert read_table(written(tmp_path, text), space) == {(1, 0): 1.0, (0, 1): 2.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"phone\.csv is empty; its first line must name the columns"),
        (HEAD, r"has no rows; give one for each measured subnet"),
        (HEAD.replace("depth,", ""), r"lacks the columns \['depth'\]; it has"),
        (HEAD.replace("latency_ms", "ms"), r"lacks the columns \['latency_ms'\]"),
        ("latency_ms\n1\n", r"lacks the columns \['depth', 'width', 'heads\.0', "),
        ("arch,arch,latency_ms\n", r"has the columns \['arch'\] more than once"),
        (HEAD + "1,8,1,1,8,8\n", r"line 2: 6 values for the 7 columns"),
        (HEAD + "3,8,1,1,8,8,1\n", r"line 2: depth is '3'; the space has \(1, 2\)"),
        (HEAD + "1,9,1,1,8,8,1\n", r"line 2: width is '9'; the space has \(8, 16\)"),
        (HEAD + "2,8,1,x,8,8,1\n", r"line 2: heads\.1 is 'x'; the space has"),
        (HEAD + "1,8,1,1,8,8,0\n", r"line 2: latency_ms is '0'; it must be a positi"),
        (HEAD + "1,8,1,1,8,8,-1\n", r"latency_ms is '-1'; it must be a positive"),
        (HEAD + "1,8,1,1,8,8,nan\n", r"latency_ms is 'nan'; it must be a positive"),
        (HEAD + "1,8,1,1,8,8,fast\n", r"latency_ms is 'fast'; it must be a positive"),
        ("arch,latency_ms\nsmall,1\n", r"line 2: arch is 'small', which is no JSON"),
        ('arch,latency_ms\n"{""layers"": [0]}",1\n', r"line 2: architecture assigns"),
        ('arch,latency_ms\n"[]",1\n', r"line 2: an architecture is a JSON object"),
        (HEAD.replace("depth", "layers") + "1,8,1,1,8,8,1\n", r"not a list as \[0, 2"),
        (
            HEAD + "1,8,1,1,8,8,1\n1,8,1,2,8,16,1.5\n",
            r"lines 2 and 3 are of one subnet, with 1 and 1\.5 ms; keep one of them",
        ),
        (HEAD + '"1,8', r"cannot be read as a CSV"),
    ],
)
def test_tables_that_cannot_be_are_refused_with_line_and_column(
    tmp_path, text, message
):
    with pytest.raises(UsageError, match=message):
        read_table(written(tmp_path, text), SPACE)


def test_files_that_are_no_tables_are_told(tmp_path):
    with pytest.raises(UsageError, match=r"absent\.csv does not exist"):
        read_table(tmp_path / "absent.csv", SPACE)
    with pytest.raises(UsageError, match="cannot be read as a CSV"):
        read_table(tmp_path, SPACE)
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read as a CSV"):
        read_table(tmp_path / "b.csv", SPACE)


def test_the_same_measurement_twice_is_one(tmp_path):
    text = HEAD + "1,8,1,1,8,8,1.5\n1,8,1,2,8,16,1.50\n"
    assert len(read_table(written(tmp_path, text), SPACE)) == 1


def linear(genotypes):
    """Latencies that the model can tell exactly."""
    return MODEL.latency_terms(genotypes) @ np.linspace(1.0, 0.1, TERMS)


def test_with_rows_enough_a_model_is_fitted_and_tested_on_a_fifth(tmp_path):
    count = rows_for_a_model(EXPERIMENT)
    assert count == TERMS + 2
    members = np.random.default_rng(0).permutation(SPACE.enumerate())[: 3 * count]
    path = table_of(tmp_path, members, linear(members).tolist())
    profile = table_profile(EXPERIMENT, path, device="phone")
    assert (profile.kind, profile.device) == ("table", "phone")
    roles = [m.role for m in profile.measurements]
    assert roles.count("held_out") == 3 * count // 5
    assert roles[0] == roles[-1] == "fit"
    assert profile.error is not None
    assert profile.error.mape_percent == pytest.approx(0, abs=1e-6)
    everything = SPACE.enumerate()
    predicted = profile.predict(everything, MODEL)
    np.testing.assert_allclose(predicted, linear(everything), rtol=1e-6)
    profile.require(fingerprint=SPACE.fingerprint, batch=2, example=(128,))


def test_with_fewer_rows_the_table_alone_has_latencies(tmp_path):
    members = SPACE.enumerate()[: rows_for_a_model(EXPERIMENT) - 1]
    path = table_of(tmp_path, members, linear(members).tolist())
    profile = table_profile(EXPERIMENT, path, device="phone")
    assert profile.model is profile.error is None
    assert profile.kind == "table"
    np.testing.assert_allclose(profile.predict(members, MODEL), linear(members))
    with pytest.raises(UsageError, match=r"of phone has no model, and no entry for \{"):
        profile.predict(SPACE.largest[None], MODEL)


def test_rows_that_are_all_alike_give_no_model(tmp_path):
    wide = Decoder(
        width=(8, 16), heads=(1, 2, 3), ffn=(8, 16, 24), depth=(1, 2), head_dim=4
    )
    experiment = Experiment(model=wide, search=Search(constraints=()))
    members = wide.space().enumerate()
    shallow = members[members[:, 0] == 0]
    assert len(shallow) > rows_for_a_model(experiment)
    lines = [json.dumps(wide.space().decode(m).to_json()) for m in shallow]
    quoted = [line.replace('"', '""') for line in lines]
    rows = [f'"{line}",{index + 1}' for index, line in enumerate(quoted)]
    path = written(tmp_path, "\n".join(["arch,latency_ms", *rows]))
    assert table_profile(experiment, path, device="phone").model is None


def test_a_table_of_every_member_needs_no_model(tmp_path):
    members = SPACE.enumerate()
    path = table_of(tmp_path, members, np.arange(1.0, len(members) + 1).tolist())
    profile = table_profile(EXPERIMENT, path, device="phone")
    assert profile.model is None
    assert profile.predict(members, MODEL).tolist() == list(range(1, len(members) + 1))


def test_a_template_is_a_table_without_latencies(tmp_path):
    path, members = tmp_path / "phone.csv", SPACE.enumerate()[:5]
    write_template(path, SPACE, members)
    with pytest.raises(UsageError, match="line 2: latency_ms is ''"):
        read_table(path, SPACE)
    head, *lines = path.read_text().splitlines()
    path.write_text("\n".join([head, *(f"{line}2.5" for line in lines)]))
    assert read_table(path, SPACE) == {tuple(m.tolist()): 2.5 for m in members}
