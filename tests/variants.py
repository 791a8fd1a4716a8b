"""Variants of a test: the first always runs, the others with the slow tests."""

from typing import Any

import pytest


def mainly(first: Any, *others: Any) -> list[Any]:
    """Returns values to parametrise with: all but the first are of slow tests.

    For variants that repeat most of the work of the first, so that a mistake would
    most likely show there too.
    """
    return [first, *(pytest.param(other, marks=pytest.mark.slow) for other in others)]
