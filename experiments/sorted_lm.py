"""A language model that is trained at every depth in one pass.

    nas run experiments.sorted_lm

Hidden states after each choice of depth go through the same norm and head, and the mean
of their losses is trained (Sorted LLaMA, arXiv 2309.08968); each exit also learns from
the next deeper one (ModularStarEncoder's hierarchical self-distillation).

The claim of the papers: all exits become usable networks at nearly no cost to the full
one.

Measured on a smaller model (250 steps, nats per byte, after 1 to 6 layers): 2.23 2.13
2.11 2.10 2.08 2.08 by its exits, 2.79 2.47 2.30 2.22 2.15 2.09 where the last layer was
trained alone. To check it:

    pytest -m long tests/experiments/test_claims.py -k exit

This recipe (400 steps, bits per byte of the test split, 8 subnets): 2.96 after one
layer, 2.66 after three, 2.53 after eight, at 0.8, 2.0 and 5.0 ms.
"""

from nas import (
    AdamW,
    Decoder,
    ExitLoss,
    Experiment,
    LargestOnly,
    Latency,
    Losses,
    Phase,
    RandomSearch,
    Search,
    StdlibText,
    Training,
)

experiment = Experiment(
    model=Decoder(
        width=(96,),
        heads=(3,),
        ffn=(256,),
        depth=tuple(range(1, 9)),
        head_dim=32,
    ),
    data=StdlibText(tokens=128),
    train=Training(
        steps=400,
        batch=8,
        phases=(
            Phase(
                policy=LargestOnly(),
                losses=Losses(largest=ExitLoss(weights="equal", share=0.2)),
            ),
        ),
        optimizer=AdamW(learning_rate=4e-3),
    ),
    latency=Latency(batch=1),
    # Eight members: all of them are measured and evaluated.
    search=Search(
        algorithm=RandomSearch(),
        evaluations=8,
        constraints=(),
        examples=64,
    ),
)
