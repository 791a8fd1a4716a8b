"""A language model that is trained at every depth in one pass.

    nas run experiments.sorted_lm

Hidden states after each choice of depth go through the same norm and head, and the mean
of their losses is trained (Sorted LLaMA, arXiv 2309.08968); each exit also learns from
the next deeper one (ModularStarEncoder's hierarchical self-distillation).

The claim of the papers: all exits become usable networks at nearly no cost to the full
one. `tests/experiments/test_claims.py` checks it at this scale, against exits of a
network that was trained for its last layer alone.
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
