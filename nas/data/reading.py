"""How training data is read ahead of the steps that need it."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """How many batches are made in advance, and by whom.

    It changes how long steps wait for their data, never which data they get.

    Raises:
        ValueError: If a number is out of range.
    """

    threads: int = 2
    """Threads that make batches, in each process that does."""
    ahead: int = 2
    """Batches that are made in advance, by each process; 0 makes them when asked."""
    workers: int = 0
    """Processes that make batches; 0 makes them in this one, which is best unless
    decoding or augmenting holds up Python itself. Each worker sends as many batches in
    advance as it keeps."""

    def __post_init__(self) -> None:
        for name, least in (("threads", 1), ("ahead", 0), ("workers", 0)):
            if getattr(self, name) < least:
                raise ValueError(
                    f"{name} must be at least {least}, got {getattr(self, name)}"
                )
