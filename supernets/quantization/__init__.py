"""What elastic precision needs to know of whole networks.

`precision` says what bits layers may choose, `distribution` is a loss that shapes
weights so that few bits hurt them less, `layer_importance` says which layers need many
bits, and `mean_bits` how many an average weight has. How weights are quantised is in
`kernels.quantization`, what layers learn of it in `supernets.layers.quantizers`, and of
several ways to do it in `supernets.layers.schemes`.
"""
