"""Stacks of transformer layers, which several models are made of.

`stack` prices one and spans its space, `elastic` and `plain` build it, and `extraction`
cuts the weights of a subnet.
"""
