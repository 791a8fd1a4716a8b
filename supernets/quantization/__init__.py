"""What elastic precision needs to know of whole networks.

`distribution` is a loss that shapes weights so that few bits hurt them less,
`layer_importance` says which layers need many bits, and `costs` what bits cost. How
weights are quantised is in `kernels.quantization`.
"""
