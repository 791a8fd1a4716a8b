"""Supernets: elastic layers, models, sampling, losses, training, extraction, costs.

`layers` are the elastic building blocks and `transformer` stacks of them; `decoder` is
a language model and `vision` an image classifier made of those. `lowering` turns a
genotype into the extents that layers take. `model` says what a model is, and `sharding`
spreads its training over devices. Modules named `spec` and `costs` import no network
library, so that a recipe can be read and a search driven without one.
"""
