"""What subnets learn from: losses as plain values, one file each.

`loss` says what a loss is. A new one is a frozen dataclass with its `__call__`, joined
to `LossSpec` there and to the conformance tests by one line each.
"""
