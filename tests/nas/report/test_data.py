"""The data of a report: consistent, and able to say what it knows."""

import pytest

from nas.report import (
    Campaign,
    Curve,
)
from tests.nas.report.samples import HUGE, report_data


def test_landmark_is_what_its_extreme_knows():
    data = report_data()
    assert data.landmark("largest") == HUGE
    assert data.landmark("middle") is None


def test_histories_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match=r"'largest' has 2 steps but 1 values"):
        Curve(label="largest", steps=(1, 2), values=(0.5,))
    with pytest.raises(ValueError, match=r"'a' has 1 evaluations but 0 hypervolume"):
        Campaign(name="a", algorithm="a", evaluations=(1,), hypervolume=())
