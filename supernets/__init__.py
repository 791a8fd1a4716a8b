"""Supernets: elastic layers, models, sampling, losses, training, extraction, costs.

`layers` are the elastic building blocks and `decoder` is a language model made of
them. `lowering` turns a genotype into the extents that layers take. Modules named
`spec` and `costs` import no network library, so that a recipe can be read and a search
driven without starting one.
"""
