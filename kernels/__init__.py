"""Elastic array operations: every operation is written once against extents.

`extents` says how much of a dimension is active. `linear`, `normalization`,
`embedding`, `attention` and `feed_forward` are the operations. Each takes full-size
weights and extents, and chooses how to run from the kind of extent it is given:
static slices for `Fixed`, masks for `Indexed` and `Mixed`. Another way to run an
operation (switched bodies, a Pallas kernel) is another file beside the operation.
"""
