"""Elastic array operations: every operation is written once, on static sizes.

`extents` says how much of a dimension is active, and how that is known. `linear`,
`normalization`, `embedding`, `attention` and `feed_forward` are the operations,
`residual` joins one with its norm. Each takes full-size weights and extents, and
`dispatch` decides how it runs: sliced, masked, switched (`switched`) or by kernels that
skip inactive tiles (`tiles`, `pallas`). `operation` is what an operation has to bring.
`quantization` is for weights and activations of few bits, whose number is an extent.
"""
