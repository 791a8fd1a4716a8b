"""A vision transformer: its light spec, supernet, plain subnets and extraction."""
