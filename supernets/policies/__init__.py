"""Which subnets a step trains: policies as plain values, one file each.

================ ========================================================
`Sandwich`       largest, smallest, random ones between; learns in place
`Attentive`      the same, random ones picked by their loss
`Uniform`        random subnets only (single path)
`MeanBudget`     random subnets of a size that rises and falls
`FullOrSubnet`   largest or random, at odds that change
`MatFormer`      one axis, the same value in every layer
`Sorted`         one depth after the other, or all
`LargestOnly`    no elasticity
================ ========================================================

`policy` says what a policy is. A new one is a frozen dataclass with `slots` and `draw`,
joined to `PolicySpec` and to the conformance tests by one line each.
"""
