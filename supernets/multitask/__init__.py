"""Several tasks on one image: an encoder that they share, and a decoder for each.

`spec` prices the model and spans its space, `elastic` and `plain` build it, and
`extraction` cuts the weights of a subnet.
"""
