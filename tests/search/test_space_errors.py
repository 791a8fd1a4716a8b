"""Bad spaces, genotypes and architectures: what the errors say."""

import numpy as np
import pytest

from search.space import Architecture, Choice, Depth, Rule, Space

WIDTH = Choice("width", (64, 128, 256))
FFN = Choice("ffn", (1, 2, 4), per_layer=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("not a name", (1,)), "not a Python identifier"),
        (("width", ()), "no values"),
        (("width", (1, 2.0)), r"values of \['float', 'int'\]"),
        (("width", (1, 1)), "repeats a value"),
        (("width", (2, 1)), r"not sorted.*write \(1, 2\)"),
        (("width", (1.0, float("inf"))), "not finite"),
    ],
)
def test_bad_choices_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Choice(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((),), "no values"),
        (((0, 1),), "at least 1"),
        (((2, 1),), "not sorted"),
        (((1, 2), "prefix", (1, 2)), "has no chain"),
        (((1, 2), "spaced", (1, 3)), "misses some"),
    ],
)
def test_bad_depths_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Depth(*arguments)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Space(()), "at least one choice"),
        (lambda: Space((WIDTH, WIDTH)), r"share a name: \['width'\]"),
        (lambda: Space((Choice("depth", (1, 2)),)), "reserved"),
        (lambda: Space((WIDTH,), 0), "at least one layer"),
        (
            lambda: Space((WIDTH,), 2, Depth((1, 3))),
            "largest depth is 3 but there are 2",
        ),
        (
            lambda: Space((WIDTH,), rules=(Rule("wide", lambda a: a["width"] != 64),)),
            "smallest architecture breaks a rule: wide",
        ),
        (
            lambda: Space((WIDTH,), rules=(Rule("thin", lambda a: a["width"] != 256),)),
            "largest architecture breaks a rule: thin",
        ),
        (lambda: Space((WIDTH,)).restrict(height=(1,)), r"no choice \['height'\]"),
        (lambda: Space((WIDTH,)).restrict(width=(65,)), "no value 65"),
        (lambda: Space((WIDTH,)).restrict(width=()), "no values"),
        (lambda: Space((WIDTH,)).restrict(depth=(1,)), "depth of this space is fixed"),
        (
            lambda: Space((WIDTH,), 3, Depth((1, 3))).restrict(depth=(2,)),
            "'depth' has no value 2",
        ),
        (lambda: Space((WIDTH, FFN), 30).enumerate(), "more than 1,000,000"),
    ],
)
def test_bad_spaces_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_sampling_gives_up_where_rules_leave_next_to_nothing():
    ends = [{64}, {256}]
    choices = tuple(Choice(f"w{i}", (64, 128, 256)) for i in range(20))
    rule = Rule("all alike", lambda a: {value for _, value in a.shared} in ends)
    with pytest.raises(ValueError, match="200 draws"):
        Space(choices, rules=(rule,)).sample(1, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("genotype", "message"),
    [
        ([0, 0], "has 4 genes, got shape"),
        ([0, 3, 0, 0], r"gene 1 is 3, legal are 0..2"),
        ([-1, 0, 0, 0], r"gene 0 is -1, legal are 0..1"),
    ],
)
def test_bad_genotypes_are_refused(genotype, message):
    space = Space((WIDTH, FFN), 2, Depth((1, 2)))
    with pytest.raises(ValueError, match=message):
        space.decode(np.asarray(genotype, np.int32))


def test_a_free_depth_that_is_not_allowed_is_refused():
    space = Space((WIDTH,), 3, Depth((1, 3), "free"))
    with pytest.raises(ValueError, match=r"2 layers run, allowed are \(1, 3\)"):
        space.decode(np.asarray([1, 1, 0, 0], np.int32))


@pytest.mark.parametrize(
    ("depth", "layers", "message"),
    [
        (None, (0,), "depth is fixed at 3"),
        (Depth((1, 3)), (0, 1), "do not follow the 'prefix' rule"),
        (Depth((2, 3), "spaced"), (0, 1), "do not follow the 'spaced' rule"),
        (Depth((1, 3), "free"), (0, 1), "depth 2 is not in"),
        (Depth((1, 3)), (0, 3), r"indices in 0\.\.2"),
        (Depth((1, 3), "free"), (1, 1, 0), "ascending"),
    ],
)
def test_layers_that_cannot_run_are_refused(depth, layers, message):
    space = Space((WIDTH,), 3, depth)
    with pytest.raises(ValueError, match=message):
        space.encode(Architecture(layers, (("width", 64),), ()))


@pytest.mark.parametrize(
    ("shared", "per_layer", "message"),
    [
        ((), (("ffn", (1, 1)),), r"assigns \['ffn'\]"),
        ((("width", 65),), (("ffn", (1, 1)),), "'width' has no value 65"),
        ((("width", 64),), (("ffn", (1,)),), "give 2 values"),
        ((("width", 64), ("ffn", 1)), (), "give 2 values"),
        ((("width", 64),), (("ffn", (True, 1)),), "'ffn' has no value True"),
    ],
)
def test_assignments_outside_the_space_are_refused(shared, per_layer, message):
    with pytest.raises(ValueError, match=message):
        Space((WIDTH, FFN), 2).encode(Architecture((0, 1), shared, per_layer))


def test_an_architecture_that_breaks_a_rule_is_refused():
    rule = Rule("not in the middle", lambda arch: arch["width"] != 128)
    space = Space((WIDTH,), rules=(rule,))
    assert space.size.value == 2
    with pytest.raises(ValueError, match="breaks a rule: not in the middle"):
        space.encode(Architecture((0,), (("width", 128),), ()))


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        ([0], r"a JSON object, got \[0\]"),
        ({"width": 1}, "'layers' must be a list"),
        ({"layers": []}, "'layers' must be a list"),
        ({"layers": [0, True]}, "ascending"),
        ({"layers": [1, 0]}, "ascending"),
        ({"layers": [-1]}, "ascending"),
        ({"layers": [0], "width": None}, "'width' is None"),
        ({"layers": [0], "width": {}}, "'width' is {}"),
        ({"layers": [0], "width": float("nan")}, "not finite"),
        ({"layers": [0], "ffn": [1, 2]}, "2 values for 1 layers"),
        ({"layers": [0], "ffn": [None]}, "'ffn' is None"),
    ],
)
def test_malformed_architectures_are_refused(encoded, message):
    with pytest.raises(ValueError, match=message):
        Architecture.from_json(encoded)


def test_an_unknown_name_is_refused_with_what_there_is():
    space = Space((WIDTH, FFN), 2)
    with pytest.raises(KeyError, match=r"no choice 'hieght'.*width.*ffn.*depth"):
        space.decode(space.largest)["hieght"]
    with pytest.raises(KeyError, match=r"no choice 'hieght'.*width.*ffn"):
        space.choice("hieght")
