"""What evaluators are given: devices, threads, variables."""

from pathlib import Path

import pytest

from nas.errors import RunError
from nas.evaluators import evaluators, shortage

CACHE = Path("/run/tune/compiled")


def given(count, *, cores=None, variables=None, **resources):
    return evaluators(
        count, cores=cores, resources=resources, variables=variables or {}, cache=CACHE
    )


def test_local_evaluators_share_the_cores_and_what_they_compile():
    two = given(2, cores=8, CPU=9.0)
    assert two.count == 2
    assert two.resources == {"CPU": 4.0}
    assert two.environment == {
        "JAX_PLATFORMS": "cpu",
        "PJRT_NPROC": "4",
        "JAX_COMPILATION_CACHE_DIR": str(CACHE),
    }
    assert given(3, cores=2).resources == {"CPU": 1.0}


def test_evaluators_of_a_cluster_have_a_core_each_and_no_folder_of_this_machine():
    two = given(2, CPU=64.0)
    assert two.resources == {"CPU": 1.0}
    assert two.environment == {"JAX_PLATFORMS": "cpu", "PJRT_NPROC": "1"}


@pytest.mark.parametrize("cores", [None, 16])
def test_each_evaluator_has_a_gpu_where_there_are_enough(cores):
    four = given(4, cores=cores, CPU=17.0, GPU=4.0)
    assert four.resources == {"CPU": 1.0, "GPU": 1.0}
    assert not {"JAX_PLATFORMS", "PJRT_NPROC"} & four.environment.keys()
    assert "XLA_PYTHON_CLIENT_PREALLOCATE" not in four.environment


def test_evaluators_that_share_a_gpu_leave_each_other_memory():
    three = given(3, CPU=17.0, GPU=2.0)
    assert three.resources == {"CPU": 1.0, "GPU": 0.5}
    assert three.environment == {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    thirds = given(3, CPU=17.0, GPU=1.0)
    assert 3 * thirds.resources["GPU"] <= 1.0


def test_whole_chips_of_a_tpu_are_given_and_too_few_are_refused():
    assert given(4, TPU=4.0).resources == {"CPU": 1.0, "TPU": 1.0}
    with pytest.raises(RunError, match=r"8, but there are 4 TPU chips.*evaluators 4"):
        given(8, TPU=4.0)


def test_a_person_who_wants_the_cpu_gets_it_and_keeps_other_variables():
    variables = {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_quiet",
        "JAX_COMPILATION_CACHE_DIR": "/mine",
        "NAS_EXECUTION": "masked",
        "HOME": "/root",
    }
    one = given(1, cores=2, variables=variables, CPU=3.0, GPU=1.0)
    assert one.resources == {"CPU": 2.0}
    assert one.environment == {
        "JAX_PLATFORMS": "cpu",
        "PJRT_NPROC": "2",
        "XLA_FLAGS": "--xla_quiet",
        "JAX_COMPILATION_CACHE_DIR": "/mine",
        "NAS_EXECUTION": "masked",
    }


def test_what_a_campaign_has_to_wait_for_is_said():
    two = given(2, CPU=2.0, GPU=2.0)
    assert shortage(two, {"CPU": 3.0, "GPU": 2.0}) == ""
    assert shortage(two, {"CPU": 2.0, "GPU": 2.0}) == "3 CPU where there is 2"
    assert shortage(two, {}) == "3 CPU where there is 0, 2 GPU where there is 0"
