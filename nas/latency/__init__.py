"""Latency of subnets: measured here, on devices elsewhere, or told by a sheet."""
