"""A language model of varying depth: equidistant layers of one deep network.

    nas run experiments.varying_depth_lm

Each step trains the full network or a subnet that skips layers, at odds that move from
the one to the other in three phases (VARiant, arXiv 2511.16546, there for images). Sets
of layers are spaced, and nested by construction.

The claim of the paper: the ramp gives subnets of a fraction of the layers at little
loss and keeps the full network, where a fixed ratio must give up one of the two.

Measured on a smaller model of 5 layers and a subnet of 2, trained on from a network
that knows its full depth alone (150 steps, nats per byte, full and subnet): 2.55 2.98
before; 2.32 2.48 at odds of 0.1, 2.35 2.43 at 0.5, 2.48 2.40 at 1; 2.36 2.42 by a ramp
from 0.2 to 0.8. So the trade-off is there, the full network is forgotten at 1, and the
ramp is another point of the trade rather than better than all. To check it:

    pytest -m long tests/experiments/test_claims.py -k depth
"""

from nas import (
    AdamW,
    Decoder,
    Experiment,
    FullOrSubnet,
    Latency,
    Nsga2,
    Phase,
    Search,
    StdlibText,
    Training,
)

experiment = Experiment(
    model=Decoder(
        width=(96,),
        heads=(2, 3),
        ffn=(128, 192),
        depth=(2, 3, 5, 9),
        depth_rule="spaced",
        head_dim=32,
    ),
    data=StdlibText(tokens=128),
    train=Training(
        steps=600,
        batch=8,
        phases=(
            Phase(share=0.2, policy=FullOrSubnet(start=0.2, end=0.2)),
            Phase(share=0.5, policy=FullOrSubnet(start=0.2, end=0.8)),
            # The paper ends at 1; then the full network is forgotten.
            Phase(share=0.3, policy=FullOrSubnet(start=0.8, end=0.8)),
        ),
        optimizer=AdamW(learning_rate=4e-3),
    ),
    latency=Latency(batch=1, fit=12, held_out=5),
    search=Search(
        algorithm=Nsga2(population=32),
        evaluations=128,
        constraints=("latency_ms <= 90%",),
        examples=24,
    ),
)
