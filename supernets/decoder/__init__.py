"""A decoder language model: its light spec, supernet, plain subnets and extraction."""
