"""Architecture search by gradient: a mixture of all subnets is moved towards one.

``specs`` and ``samplings`` are plain values that a recipe may hold. ``step`` moves the
architecture, and the weights where the regime says so; ``expected_cost`` keeps what is
chosen within bounds; ``decoding`` says which subnet a mixture stands for; ``search``
puts them together.

The method is TangleNAS (Sukthanker et al. 2024). Weights that learn together with a
soft architecture rescale to undo its mask, so that what is chosen is not what was
trained; by default they are therefore trained before, on subnets, and stand still.
"""
