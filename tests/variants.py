"""Variants of a test: the first always runs, the others with the slow tests."""

from typing import Any

import pytest


def mainly(
    first: Any, *others: Any, mark: pytest.MarkDecorator = pytest.mark.slow
) -> list[Any]:
    """Returns values to parametrise with: all but the first are of slow tests,
    or of others that are left out.

    For variants that repeat most of the work of the first, so that a mistake would
    most likely show there too.
    """
    return [first, *(pytest.param(other, marks=mark) for other in others)]
