"""Arguments that several benchmarks take."""

import argparse


def positive(text: str) -> int:
    """Returns a count that was typed.

    Raises:
        ArgumentTypeError: If it is below 1.
        ValueError: If it is no whole number, which argparse tells as well.
    """
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return number
