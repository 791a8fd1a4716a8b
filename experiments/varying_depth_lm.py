"""A language model of varying depth: equidistant layers of one deep network.

    nas run experiments.varying_depth_lm

Each step trains the full network or a subnet that skips layers, at odds that move from
the one to the other in three phases (VARiant, arXiv 2511.16546, there for images). Sets
of layers are spaced, and nested by construction.

The claim of the paper: the ramp gives subnets of a fraction of the layers at little loss
and keeps the full network, where a fixed ratio must give up one of the two. At this
scale the trade-off is there, but the ramp is only one point of it: see
`tests/experiments/test_claims.py`.
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
