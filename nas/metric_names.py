"""Names of the metrics that are known of a subnet without running it."""

LATENCY = "latency_ms"
"""Of this machine, or of the profile that was given instead."""

COSTS = (
    "params",
    "macs",
    "flops",
    "memory_mb",
    "size_mb",
    "traffic_mb",
    "bops",
    "mean_bits",
)

CHEAP_METRICS = (*COSTS, LATENCY)
"""What every search knows; named devices and functions of one's own come on top."""


def metric_of(device: str) -> str:
    """Returns the metric of a named device.

    >>> metric_of("phone"), device_of("latency_ms_phone"), device_of("params")
    ('latency_ms_phone', 'phone', None)

    Raises:
        ValueError: If the name is no identifier, which constraints need.
    """
    if not f"{LATENCY}_{device}".isidentifier() or not device:
        raise ValueError(
            f"device name {device!r} must be of letters, digits and underscores, as "
            f"in 'phone=phone.json', for constraints such as '{LATENCY}_phone <= 30'"
        )
    return f"{LATENCY}_{device}"


def device_of(metric: str) -> str | None:
    """Returns the device whose latency a metric is; ``None`` of other metrics."""
    prefix = f"{LATENCY}_"
    return metric.removeprefix(prefix) if metric.startswith(prefix) else None


def device_and_file(text: str) -> tuple[str, str]:
    """Splits ``NAME=FILE``.

    Raises:
        ValueError: If it is anything else.
    """
    name, equals, file = text.partition("=")
    if not (equals and file):
        raise ValueError(f"{text!r} is not NAME=FILE, such as 'phone=phone.json'")
    metric_of(name)
    return name, file


def module_and_function(text: str) -> tuple[str, str]:
    """Splits ``MODULE:FUNCTION``.

    >>> module_and_function("mypackage.costs:energy_mj")
    ('mypackage.costs', 'energy_mj')

    Raises:
        ValueError: If it is anything else, or the function is called like a metric
            that there is.
    """
    module, _, function = text.partition(":")
    dotted = all(part.isidentifier() for part in module.split("."))
    if not (dotted and function.isidentifier()):
        raise ValueError(
            f"{text!r} is not MODULE:FUNCTION, such as 'mypackage.costs:energy_mj'"
        )
    if function in CHEAP_METRICS or device_of(function) is not None:
        raise ValueError(f"{text!r}: {function} is a metric already; rename it")
    return module, function
