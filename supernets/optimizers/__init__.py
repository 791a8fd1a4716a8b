"""Optimisers as plain values, one file each.

`optimizer` says what they have in common. A new one is a frozen dataclass with its
`scaling`, joined to `OptimizerSpec` in `registry` and to the conformance tests by one
line each.
"""
