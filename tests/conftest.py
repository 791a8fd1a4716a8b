"""Strict mode for every test: shapes and types, dtypes, ranks, keys, warnings."""

import gc
import os
import shutil
import signal
from pathlib import Path

# Before JAX is imported, for its processes too: tests compile much and run little.
# The slow ones also pass with programs as they are used: .ci/run sets it to 0 for them.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# A quarter of their time: what earlier runs have compiled need not be compiled.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR",
    str(Path(__file__).parent.parent / ".pytest_cache" / "d" / "programs"),
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import hypothesis
import jax
import jaxtyping
import pytest

# Before Ray is imported: under `uv run` it would build an environment for each worker.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
# Its workers would wait for the tests of the other processes.
os.environ.setdefault("RAY_worker_niceness", "0")

# Workers of pytest-xdist ignore interrupts, and so would all that tests start in them.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Before any of our packages is imported, so that every annotation is checked.
jaxtyping.install_import_hook(
    ("kernels", "nas", "search", "supernets"), "beartype.beartype"
)

hypothesis.settings.register_profile("jax", deadline=None, derandomize=True)
hypothesis.settings.load_profile("jax")

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)
jax.config.update("jax_num_cpu_devices", 4)


MOST_PROGRAMS = 2 * 10**9
"""Bytes of programs that are kept; those of code that has changed are never used."""

# Traces leave little to collect, and looking for it takes a fifteenth of the time.
gc.set_threshold(50_000, 20, 50)


def pytest_configure(config):
    """Before workers start: programs are kept until there are too many."""
    # Not those of a person who names a folder of their own.
    programs = config.rootpath / ".pytest_cache" / "d" / "programs"
    if hasattr(config, "workerinput") or not programs.exists():
        return
    if sum(file.stat().st_size for file in programs.iterdir()) > MOST_PROGRAMS:
        shutil.rmtree(programs)


def pytest_collection_finish():
    """Modules and tests stay to the end: nobody need look at them again."""
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """Frees what a file compiled, which in all of them takes gigabytes."""
    yield
    jax.clear_caches()
