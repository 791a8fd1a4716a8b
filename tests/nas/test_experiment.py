"""Experiments that cannot run are refused when they are made, with what would do."""

import dataclasses

import pytest

from nas.experiment import METRICS, Experiment, Latency, Search, Training
from supernets.decoder.spec import Decoder

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


def test_a_space_too_small_for_a_latency_model_is_refused():
    small = model_with(heads=(1,), ffn=(8,), depth=(1, 2))
    with pytest.raises(ValueError, match=r"4 members: too few to measure 8 .* out 8"):
        Experiment(model=small)
    # 2 widths x (4 blocks + 4 x 4 of them) are 40 members.
    Experiment(model=MODEL, latency=Latency(held_out=32))
    with pytest.raises(ValueError, match=r"40 members.*lower latency\.held_out"):
        Experiment(model=MODEL, latency=Latency(held_out=33))


def test_a_vocabulary_smaller_than_the_bytes_is_refused():
    with pytest.raises(ValueError, match="vocabulary 255 is too small for bytes: 256"):
        Experiment(model=model_with(vocabulary=255))


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="seed must not be negative, got -1"):
        Experiment(model=MODEL, seed=-1)


@pytest.mark.parametrize("name", ["accuracy", "latency"])
def test_metrics_that_nothing_computes_are_refused_with_those_that_exist(name):
    with pytest.raises(ValueError, match=f"computes the metric '{name}'") as caught:
        Search(objectives=("loss", name))
    assert all(metric in str(caught.value) for metric in METRICS)
    with pytest.raises(ValueError, match=f"computes the metric '{name}'") as caught:
        Search(constraints=(f"{name} <= 5",))
    assert all(metric in str(caught.value) for metric in METRICS)


def test_objectives_are_given_each_once():
    with pytest.raises(ValueError, match=r"objectives are \(\); name some of"):
        Search(objectives=())
    with pytest.raises(ValueError, match=r"\('loss', 'loss'\); .* each once"):
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
    + [(Search, n) for n in ("evaluations", "windows", "candidates", "evaluators")],
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
        ({"fit": 7}, "fit >= 8 and held_out >= 2"),
        ({"held_out": 1}, "fit >= 8 and held_out >= 2"),
    ],
)
def test_latency_that_cannot_be_fitted_is_refused(changes, message):
    Latency(batch=1, rounds=3, fit=8, held_out=2)
    with pytest.raises(ValueError, match=message):
        Latency(**changes)


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
        ({"ffn": (0, 8)}, r"ffn must be positive, got \(0, 8\)"),
        ({"depth": ()}, "choice 'depth' has no values"),
        ({"depth": (0, 1)}, "depth must be at least 1, got 0"),
        ({"depth": (2, 1)}, r"choice 'depth' is not sorted.*write \(1, 2\)"),
    ],
)
def test_a_model_of_impossible_sizes_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        model_with(**changes)
