"""Elastic precision: weights and activations in as many bits as an extent says.

A bit-width reaches a weight as every other size reaches an operation: as an extent
(`kernels.extents`), whose sizes are here numbers of bits. What is quantised is the
full-size weight, before other extents cut it, so that a subnet's weight is a prefix of
the quantised weight, and its scales a prefix of the scales.

=============== =======================================================================
`scheme`        how many bits, and which numbers share a scale
`quantizers`    scales and zero points, which are learned, one set for each bit-width
`fake`          numbers rounded to what few bits can hold, with a gradient (EQ-Net)
`bitslice`      all widths as the leading bits of one 8-bit code (MatQuant)
`ways`          one of several schemes of a weight, at a traced index (EQ-Net)
`activations`   the same for activations
`roundings`     the same within operations, which round what their products read
`calibration`   the first scales
`integers`      weights and activations as integers, for a network that is trained
`products`      their products, in integers
`packing`       integers of a few bits in bytes
`storage`       packed weights
`sizes`         how many bytes they are, for whole populations at once
=============== =======================================================================

`widths` and `rounding` are what these share: extents of bits, and gradients through
rounding.
"""
