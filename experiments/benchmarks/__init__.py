"""Measurements behind the README: each module runs alone and writes to `results`."""
