"""What phases do to quantised weights needs some."""

import pytest

from nas.training.bits import check_bits
from supernets.phases import Phase
from supernets.quantization.precision import Precision
from supernets.regularization import Regularization

NOISE = Regularization(dropout=0.1)


@pytest.mark.parametrize(
    ("phase", "precision", "message"),
    [
        (Phase(calibrate=True), None, "phase 2 has calibrate, but weights are float32"),
        (Phase(trains="scales"), None, "phase 2 has trains='scales'"),
        (Phase(trains="adapters"), Precision(), "set model.precision.adapters to"),
    ],
)
def test_a_phase_that_needs_what_is_not_there_is_refused(phase, precision, message):
    with pytest.raises(ValueError, match=message):
        check_bits((Phase(), phase), NOISE, precision)


def test_weights_that_are_not_quantised_get_no_shape():
    with pytest.raises(ValueError, match="or leave both at 0"):
        check_bits((Phase(),), Regularization(kurtosis=1.0), None)


def test_what_is_there_may_be_trained():
    adapted = Precision(granularity="group", group_size=4, adapters=2)
    phases = Phase(), Phase(calibrate=True, trains="adapters"), Phase(trains="scales")
    check_bits(phases, Regularization(kurtosis=1.0), adapted)
    check_bits((Phase(),), NOISE, None)
