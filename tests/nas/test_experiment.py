"""Experiments that cannot run are refused when they are made, with what would do."""

import dataclasses

import pytest

from nas.config import decode, encode
from nas.data import Digits, DigitTasks
from nas.experiment import CHEAP_METRICS, Experiment, Latency, Search, Training
from search.fidelity import SuccessiveHalving
from supernets.decoder.spec import Decoder
from supernets.losses.pgd import Pgd
from supernets.vision.spec import VisionTransformer

VISION = VisionTransformer(
    image=(8, 8, 1),
    patch=4,
    classes=10,
    width=(8, 16),
    heads=(1, 2),
    ffn=(8, 16),
    depth=(1, 2),
    head_dim=4,
)
MODEL = Decoder(width=(8, 16), heads=(1, 2), ffn=(8, 16), depth=(1, 2), head_dim=4)


def model_with(**changes):
    return dataclasses.replace(MODEL, **changes)


def test_a_small_experiment_is_accepted_with_its_defaults():
    experiment = Experiment(model=MODEL)
    assert experiment.search.objectives == ("loss", "latency_ms")
    assert [str(bound) for bound in experiment.search.bounds] == ["latency_ms <= 60%"]


def test_a_space_of_one_member_is_refused():
    single = model_with(width=(8,), heads=(1,), ffn=(8,), depth=(2,))
    with pytest.raises(ValueError, match="one member: nothing to search; give some"):
        Experiment(model=single)


def test_a_space_of_few_members_needs_no_latency_model():
    small = model_with(heads=(1,), ffn=(8,), depth=(1, 2))
    # Four members, and a model of more terms.
    few = Experiment(model=small, latency=Latency(fit=2, held_out=2))
    assert few.latency.measures_all(small.space())
    # 2 widths x (4 blocks + 4 x 4 of them) are 40 members.
    assert not Latency(fit=31, held_out=8).measures_all(MODEL.space())
    assert Latency(fit=32, held_out=8).measures_all(MODEL.space())


def test_a_vocabulary_smaller_than_the_bytes_is_refused():
    with pytest.raises(
        ValueError, match="vocabulary 255 is too small for the data: 256"
    ):
        Experiment(model=model_with(vocabulary=255))


@pytest.mark.parametrize("data", [Digits(), DigitTasks()])
def test_a_language_model_of_images_is_refused(data):
    with pytest.raises(ValueError, match="decoder reads sequences of tokens"):
        Experiment(model=MODEL, data=data)


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="seed must not be negative, got -1"):
        Experiment(model=MODEL, seed=-1)


@pytest.mark.parametrize("name", ["accuracy", "latency"])
def test_metrics_that_nothing_computes_are_refused_with_those_that_exist(name):
    for search in (
        Search(objectives=("loss", name)),
        Search(constraints=(f"{name} <= 5",)),
    ):
        with pytest.raises(ValueError, match=f"computes the metric '{name}'") as caught:
            Experiment(model=MODEL, search=search)
        known = ("loss", "error", *CHEAP_METRICS)
        assert all(metric in str(caught.value) for metric in known)


def test_the_adversarial_error_is_known_where_there_is_an_adversary():
    search = Search(objectives=("error", "adversarial_error", "macs"))
    with pytest.raises(ValueError, match="computes the metric 'adversarial_error'"):
        Experiment(model=VISION, data=Digits(), search=search)
    attacked = dataclasses.replace(search, adversary=Pgd())
    experiment = Experiment(model=VISION, data=Digits(), search=attacked)
    assert experiment.scores == ("loss", "error", "adversarial_error")
    assert experiment.shown == ("error", "adversarial_error")
    assert decode(encode(experiment)) == experiment


def test_an_adversary_of_tokens_is_refused():
    with pytest.raises(
        ValueError, match=r"real numbers such as images; .* gives int32"
    ):
        Experiment(model=MODEL, search=Search(adversary=Pgd()))


def test_scores_are_shown_by_what_is_searched_for():
    def shown(*objectives):
        search = Search(objectives=objectives)
        return Experiment(model=MODEL, search=search).shown

    assert shown("loss", "latency_ms") == ("loss",)
    assert shown("latency_ms", "error", "params", "loss") == ("error", "loss")
    assert shown("params", "latency_ms") == ("loss",)


def test_objectives_are_given_each_once():
    with pytest.raises(ValueError, match=r"objectives are \(\); name at least one"):
        Search(objectives=())
    with pytest.raises(ValueError, match=r"\('loss', 'loss'\); .* only once"):
        Search(objectives=("loss", "loss"))


def test_a_percentage_of_the_loss_is_refused():
    with pytest.raises(ValueError, match=r"'loss <= 50%'.*give an absolute loss"):
        Search(constraints=("loss <= 50%",))
    assert Search(constraints=("loss <= 2.5",)).bounds[0].limit == 2.5


def test_a_constraint_that_cannot_be_read_says_what_can():
    with pytest.raises(ValueError, match="write for example 'latency_ms <= 5'"):
        Search(constraints=("latency_ms < 5",))


@pytest.mark.parametrize(
    ("kind", "name"),
    [(Training, n) for n in ("steps", "batch", "validate_every", "checkpoint_every")]
    + [(Search, n) for n in ("evaluations", "examples", "candidates", "evaluators")],
)
@pytest.mark.parametrize("value", [0, -3])
def test_counts_must_be_positive(kind, name, value):
    with pytest.raises(ValueError, match=f"^{name} must be at least 1, got {value}$"):
        kind(**{name: value})
    assert getattr(kind(**{name: 1}), name) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 0}, "batch >= 1 and rounds >= 3"),
        ({"rounds": 2}, "batch >= 1 and rounds >= 3"),
        ({"fit": 1}, "fit >= 2 and held_out >= 2"),
        ({"held_out": 1}, "fit >= 2 and held_out >= 2"),
    ],
)
def test_latency_that_cannot_be_measured_is_refused(changes, message):
    Latency(batch=1, rounds=3, fit=2, held_out=2)
    with pytest.raises(ValueError, match=message):
        Latency(**changes)


def test_a_latency_model_needs_as_many_subnets_as_it_has_terms():
    terms = MODEL.latency_terms(MODEL.space().largest[None]).shape[1]
    Experiment(model=MODEL, latency=Latency(fit=terms))
    message = rf"latency\.fit is {terms - 1}: .* Decoder has {terms} terms"
    with pytest.raises(ValueError, match=message):
        Experiment(model=MODEL, latency=Latency(fit=terms - 1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": (2, 3), "group": 2}, r"heads \[3\] do not divide into groups of 2"),
        ({"head_dim": 5}, "head_dim must be even, got 5"),
        ({"head_dim": 0}, "head_dim must be even, got 0"),
        ({"group": 0}, "group must be at least 1, got 0"),
        ({"width": ()}, "choice 'width' has no values"),
        ({"width": (16, 8)}, r"choice 'width' is not sorted.*write \(8, 16\)"),
        ({"heads": (1, 1)}, r"choice 'heads' repeats a value: \(1, 1\)"),
        ({"width": (0, 8)}, r"width must be positive, got \(0, 8\)"),
        ({"depth": ()}, "choice 'depth' has no values"),
        ({"depth": (0, 1)}, "depth must be at least 1, got 0"),
        ({"depth": (2, 1)}, r"choice 'depth' is not sorted.*write \(1, 2\)"),
    ],
)
def test_a_model_of_impossible_sizes_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        model_with(**changes)


def test_examples_that_rungs_cannot_divide_are_refused():
    halving = SuccessiveHalving(fractions=(0.25, 1.0))
    assert Search(fidelity=halving, examples=24).fidelity == halving
    with pytest.raises(ValueError, match="4 equal pieces, which do not divide the 30"):
        Search(fidelity=halving, examples=30)
