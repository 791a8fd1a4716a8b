"""One training over many devices: data, FSDP and tensor axes.

`spec` says how many devices each axis has, `layout` where state and batches lie, and
`memory` what a device holds of them.

====== ==================================  ============================================
axis   what is spread                      what devices tell each other in a step
====== ==================================  ============================================
data   examples                            gradients are summed, once for each subnet
fsdp   examples; weights, moments, average weights are gathered once for all subnets,
                                           gradients summed as on the data axis
tensor heads and hidden units              activations are summed, twice for each layer
                                           forward and twice backward
====== ==================================  ============================================

Embeddings, norms, positions, heads of models and the model width are not spread over
the tensor axis: their work, and that of losses, is done by each of its devices. Their
weights are ``(vocabulary + positions + ...) * width`` parameters of a transformer whose
layers have about ``12 * width**2`` each, and are spread over the fsdp axis.
"""
