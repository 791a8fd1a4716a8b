"""Numbers, architectures and results, as they are written for people."""

import dataclasses
import doctest
import math

from nas.report import costs, words
from tests.nas.report.samples import precise_report, report_data


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


def test_result_is_told_by_what_the_front_is_drawn_against():
    data = precise_report()
    assert words.result(data).startswith("12 subnets from 0.62 to 2.24 MB and from 2.")
    detail = words.detail(data)
    assert "3.0 % more loss than the largest network at 61 % of its size." in detail
    assert "have 2 to 3.38 bits on average; files hold them as packed int" in detail
    assert "bfloat16" not in detail
    operations = words.result(precise_report("bops", 3.1e9))
    assert operations.startswith("12 subnets from 1.92 to 6.94 G bit operations and")
    assert operations.endswith("all within bops ≤ 7.16 G.")
    assert "4.48 energy_mj and" in words.result(precise_report("energy_mj", 2.0))


def test_weights_that_are_kept_as_floats_are_told():
    data = precise_report()

    def detail(*bits):
        member = data.front[0]
        metrics = {**member.metrics, "mean_bits": sum(bits) / len(bits)}
        arch = {**member.arch, "weight_bits": list(bits)}
        member = dataclasses.replace(member, arch=arch, metrics=metrics)
        return words.detail(dataclasses.replace(data, front=(member,)))

    assert "with their scales, those of 16 bits as bfloat16." in detail(2, 16)
    assert detail(16, 16).endswith("Weights of the layers have 16 bits on average.")


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


def test_what_latencies_rest_on_is_said():
    fit = report_data().latency

    def basis(drawn=False, **changes):
        return words.basis(dataclasses.replace(fit, **changes), drawn=drawn)

    fitted = "Predicted by a model that was fitted to measurements"
    assert basis(drawn=True) == f"{fitted}."
    assert basis().startswith(f"{fitted}; held out: mean error 3.1 %, within 10 %: 100")
    assert "fitted to an imported table; held out" in basis(kind="table")
    assert basis(kind="table", error=None).startswith("An imported table; no other")
    assert basis(kind="measured", error=None).startswith("Every member was measured")
    assert "not measured: the error is not" in basis(kind="roofline", error=None)


def test_predictions_that_were_off_by_more_than_a_tenth_are_marked():
    assert words.miss(1.15, 1.0) == words.miss(0.85, 1.0) == "15 % off"
    assert words.miss(1.09, 1.0) == words.miss(None, 1.0) == words.miss(1.0, None) == ""


def test_examples_in_the_docstrings_hold():
    for module in (words, costs):
        tried = doctest.testmod(module)
        assert tried.attempted
        assert not tried.failed
