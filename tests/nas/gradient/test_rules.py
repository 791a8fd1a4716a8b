"""What a search by gradient refuses, and how it is named."""

import pytest

from nas import Decoder, Experiment, GradientSearch, Search
from nas.gradient.descent import within_means
from supernets.gradient_search.specs import Joint

MODEL = Decoder(width=(8, 16), heads=(1, 2), ffn=(8, 16), depth=(1, 2), head_dim=4)


def searching(spec=None, **search):
    search = {"algorithm": spec or GradientSearch(), **search}
    return Experiment(model=MODEL, search=Search(**search))


@pytest.mark.parametrize(
    ("spec", "search", "message"),
    [
        (GradientSearch(regime=Joint()), {}, r"regime is Joint, which moves the we"),
        (None, {"objectives": ("params", "latency_ms")}, r"add one of \('loss', 'err"),
        (None, {"constraints": ("params >= 5",)}, r"'params >= 5'.*upper limits only"),
        (None, {"constraints": ("loss <= 5",)}, r"'loss <= 5'.*loss is not; leave it"),
        (
            GradientSearch(sweep=3),
            {"evaluations": 5},
            r"needs 2 for each of its 3 sets of bounds: raise it to 6",
        ),
    ],
)
def test_what_a_gradient_cannot_do_is_refused_at_once(spec, search, message):
    with pytest.raises(ValueError, match=message):
        searching(spec, **search)
    # A rival is held to the same.
    if spec is None:
        rivals = {"algorithm": Search().algorithm, "rivals": (GradientSearch(),)}
        with pytest.raises(ValueError, match=message):
            searching(**{**search, **rivals})


def test_other_algorithms_may_do_all_of_that():
    search = Search(constraints=("params >= 5", "loss <= 5"), evaluations=1)
    assert Experiment(model=MODEL, search=search).search.bounds


@pytest.mark.parametrize("field", ["batch", "sweep"])
def test_counts_of_a_search_are_at_least_one(field):
    with pytest.raises(ValueError, match=f"{field} must be at least 1, got 0"):
        GradientSearch(**{field: 0})


def test_half_of_the_looks_are_left_for_what_is_around_the_best():
    spec = GradientSearch(steps=100, decode_every=10)
    assert within_means(spec, 1000) == spec
    assert within_means(spec, 11).decode_every == 20
    assert within_means(spec, 2).decode_every == 100
