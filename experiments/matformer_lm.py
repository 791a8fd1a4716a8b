"""A MatFormer language model: nested feed-forward networks, taken out layer by layer.

    nas run experiments.matformer_lm

Every layer of a step has the same granularity, and every step trains all of them
(MatFormer, Devvrit 2024, as its code does). Networks whose layers differ are never
trained; the search takes them out for nothing (Mix'n'Match).

The claim of the paper: nested sub-models are about as good as networks trained alone
and agree with the full model more often, while cutting a network that was trained as
one ruins it.

Measured on a smaller model (200 steps, nats per byte, smallest to largest granularity):
2.35 2.32 2.31 2.30 nested, 3.30 2.92 2.43 2.17 cut from a network trained as one. The
largest is agreed with on 76% 82% 92% of bytes nested, on 31% 42% 64% cut. Mixed
networks lie between their neighbours. So small sub-models are usable, and the largest
pays for it in so few steps. To check it:

    pytest -m long tests/experiments/test_claims.py -k nested
"""

from nas import (
    AdamW,
    Decoder,
    Experiment,
    Latency,
    MatFormer,
    Nsga2,
    Phase,
    Search,
    StdlibText,
    Training,
)

experiment = Experiment(
    model=Decoder(
        width=(96,),
        heads=(3,),
        # Half, one, two and four times the width, as in the paper.
        ffn=(48, 96, 192, 384),
        depth=(4,),
        head_dim=32,
    ),
    data=StdlibText(tokens=128),
    train=Training(
        steps=300,
        batch=8,
        phases=(Phase(policy=MatFormer(granularities="all")),),
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
