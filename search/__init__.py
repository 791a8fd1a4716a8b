"""Spaces, algorithms and the Ray driver: integers in, metrics out, no network.

Everything here is NumPy on purpose. A population is a few hundred small integer
vectors, so there is nothing to compile, and the process that drives Ray must not have
started a JAX backend before it starts workers.
"""
