"""Pallas kernels for GPUs and TPUs that skip what a traced size leaves inactive.

`prefix_matmul` and `feed_forward` are the public operations, `selection` says which
implementation runs and why another one does not. `products` is the one product that
all of them are made of; `tpu`, `mosaic_gpu` and `triton` implement it, and the fused
feed-forward network is beside each of them. Nothing here was yet measured on
hardware: block sizes follow from the widths of the matrix units.
"""
