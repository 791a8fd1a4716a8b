"""A trained language model in few bits, mended by small adapters for each bit-width.

    nas run experiments.quantized_adapters_lm

Weights are trained in 16 bits and then frozen, as those of a model that somebody else
trained would be. Of each weight 2, 3 and 4 bits remain, with scales for groups of
inputs, and an adapter of low rank for each bit-width learns to make up for what that
costs (LLM-QFA, Yi 2024). The mean of bits over layers goes down and up again, so that
all means are trained alike. A search then gives each layer its bits, under a bound on
their mean; adapters are folded into the zero points of the exported integers.
"""

from nas import (
    AdamW,
    Decoder,
    Experiment,
    LargestOnly,
    Latency,
    MeanBudget,
    Nsga2,
    Phase,
    Precision,
    Search,
    StdlibText,
    Training,
)

experiment = Experiment(
    model=Decoder(
        width=(96,),
        heads=(3,),
        ffn=(256,),
        depth=(4,),
        head_dim=32,
        precision=Precision(
            weights=(2, 3, 4, 16),
            granularity="group",
            group_size=32,
            symmetric=False,
            adapters=4,
        ),
    ),
    data=StdlibText(tokens=128),
    train=Training(
        steps=1000,
        batch=8,
        phases=(
            Phase(share=0.6, elastic=(), policy=LargestOnly()),
            Phase(
                share=0.4,
                elastic=("weight_bits",),
                policy=MeanBudget(period=200),
                trains="adapters",
                calibrate=True,
            ),
        ),
        optimizer=AdamW(learning_rate=4e-3),
        validate_every=100,
        checkpoint_every=200,
    ),
    latency=Latency(fit=12, held_out=5),
    search=Search(
        algorithm=Nsga2(population=32),
        evaluations=128,
        objectives=("loss", "size_mb"),
        constraints=("mean_bits <= 4",),
        examples=24,
    ),
)
