"""The panel: always the same subnets, nested, and spread over what subnets cost."""

import json

import numpy as np
import pytest

from nas.errors import RunError
from nas.metrics import LANDMARKS
from nas.panel import load_panel, make_panel
from search.space import Choice, Depth, Rule, Space

EVEN = Rule("an even sum of widths", lambda arch: sum(arch["ffn"]) % 2 == 0)


def space_of(rule="prefix", layers=4, rules=()):
    return Space(
        choices=(
            Choice("width", (8, 16, 24)),
            Choice("heads", (1, 2, 4), per_layer=True),
            Choice("ffn", (16, 33, 48, 64), per_layer=True),
        ),
        layers=layers,
        depth=Depth((1, 2, 4), rule),
        rules=rules,
    )


def cost_in(space):
    """Prices what runs, as a transformer does."""

    def cost(genotypes):
        active = space.active_layers(genotypes)
        width = space.values(genotypes, "width")
        layer = 8 * space.values(genotypes, "heads") + space.values(genotypes, "ffn")
        return (width * (256 + (layer * active).sum(1))).astype(float)

    return cost


@pytest.mark.parametrize("rule", ["prefix", "spaced", "free"])
@pytest.mark.parametrize("rules", [(), (EVEN,)])
def test_a_panel_is_nested_and_spread_over_the_costs(rule, rules):
    space = space_of(rule, rules=rules)
    panel = make_panel(space, cost_in(space))
    assert space.valid(panel.genotypes).all()
    assert len(panel.labels) == 7
    assert (panel.labels[0], panel.labels[-1]) == ("smallest", "largest")
    for name in LANDMARKS:
        row = panel.genotypes[panel.labels.index(name)]
        np.testing.assert_array_equal(row, getattr(space, name))
    np.testing.assert_array_equal(panel.macs, cost_in(space)(panel.genotypes))
    # Each is a part of the next: what runs is no smaller, layer by layer.
    layers = space.active_layers(panel.genotypes)
    assert (layers[1:] >= layers[:-1]).all()
    assert (np.diff(panel.genotypes, axis=0) >= 0).all()
    steps = np.diff(np.log(panel.macs))
    assert (steps > 0).all()
    assert steps.max() < 0.4 * np.log(panel.macs[-1] / panel.macs[0])


def test_a_panel_is_always_the_same():
    first, second = (make_panel(space_of(), cost_in(space_of())) for _ in range(2))
    assert first.labels == second.labels
    np.testing.assert_array_equal(first.genotypes, second.genotypes)


def test_labels_say_what_a_subnet_costs():
    space = space_of()
    panel = make_panel(space, lambda rows: 1e6 * cost_in(space)(rows))
    others = [
        (label, macs)
        for label, macs in zip(panel.labels, panel.macs, strict=True)
        if label not in LANDMARKS
    ]
    assert len(others) == 4
    for label, macs in others:
        number, letter, unit = label.split()
        assert (letter, unit) == ("G", "MACs")
        assert float(number) == pytest.approx(macs / 1e9, rel=5e-3)


def test_a_small_space_has_a_smaller_panel_that_keeps_the_landmarks():
    space = Space((Choice("ffn", (1, 2)),))
    panel = make_panel(space, lambda rows: 1.0 + rows[:, 0])
    # Of two values the middle is the first.
    assert panel.labels == ("smallest", "middle", "largest")
    assert panel.genotypes.tolist() == [[0], [0], [1]]


def test_a_panel_has_at_least_the_landmarks():
    with pytest.raises(ValueError, match=r"at least .*'middle'.* got 2 subnets"):
        make_panel(space_of(), cost_in(space_of()), subnets=2)


def test_a_panel_is_read_back_as_it_was_written(tmp_path):
    space, path = space_of(), tmp_path / "panel.json"
    panel = make_panel(space, cost_in(space))
    panel.write(path, space)
    members = load_panel(path)
    assert tuple(members) == panel.labels
    for member, genotype, macs in zip(
        members.values(), panel.genotypes, panel.macs, strict=True
    ):
        assert member.macs == macs
        np.testing.assert_array_equal(space.encode(member.arch), genotype)
    stored = json.loads(path.read_text())["largest"]
    assert stored["genotype"] == space.largest.tolist()
    assert stored["id"] == space.decode(space.largest).id


@pytest.mark.parametrize(
    "text", ['{"largest": 3}', '{"largest": {"macs": 1}}', '{"largest": {"arch": {}}}']
)
def test_a_damaged_panel_is_told(tmp_path, text):
    (tmp_path / "panel.json").write_text(text)
    with pytest.raises(RunError, match=r"panel.json is damaged .*train again"):
        load_panel(tmp_path / "panel.json")
