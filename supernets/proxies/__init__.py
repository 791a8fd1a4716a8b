"""Zero-cost proxies: what untrained or trained weights say of a subnet by one gradient.

`names` says which there are, without loading an array library, `measures` has their
equations, `rewired` changes a supernet as they need it, and `population` computes them
for many subnets by one program.
"""
