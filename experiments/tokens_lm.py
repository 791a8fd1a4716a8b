r"""A decoder of 0.15 to 1 billion parameters on shards of tokens.

    nas run experiments.tokens_lm --data.path /data/tokens

Elastic in depth, width, heads and feed-forward size. The data is a folder of `train*`,
`search*` and `test*` files, each a NumPy array of token numbers on one axis
(`numpy.save`, uint16), as any tokeniser with at most 32768 tokens gives.

Meant for eight accelerators of 80 GB or a TPU pod slice, whose number is found out by
itself: 512 windows of 2048 tokens in a step, in bfloat16, with weights and moments
spread over eight devices. 20000 steps are 21 billion tokens, about as many as suit the
largest subnet (Hoffmann 2022, Table 3). The learning rate stays up until the last
tenth, so that a checkpoint from before can be trained on for longer. With
`--train.parallel.tensor 2` two devices share the heads and hidden units of each layer.
`nas show experiments.tokens_lm` tells memory and time of the devices at hand, and
spends nothing. A smaller one for a single device, of about 100 million parameters:

    nas run experiments.tokens_lm --data.path /data/tokens --train.parallel.fsdp 1 \
        --model.width 512 640 768 --model.heads 4 5 6 --model.ffn 1024 1536 2048 \
        --model.depth 8 10 12 --train.batch 32

Expected: subnets on a smooth front of loss against latency, each no worse than a model
of its size alone at the same number of steps. Not measured at this size.
"""

from nas import (
    AdamW,
    Decoder,
    Distillation,
    Experiment,
    Latency,
    Losses,
    Nsga2,
    Parallel,
    Sandwich,
    Search,
    TokenShards,
    Training,
    WarmupStableDecay,
    progressive,
)

model = Decoder(
    vocabulary=32_768,
    width=(1024, 1536, 2048),
    heads=(8, 12, 16),
    ffn=(2048, 4096, 5632),
    depth=(12, 16, 20),
    head_dim=128,
    group=2,
)

experiment = Experiment(
    model=model,
    data=TokenShards(path="data/tokens", tokens=2048, vocabulary=32_768),
    train=Training(
        steps=20_000,
        batch=512,
        phases=progressive(
            model.space(),
            policy=Sandwich(random=2),
            losses=Losses(taught=Distillation(share=0.5)),
        ),
        optimizer=AdamW(
            learning_rate=4e-4,
            weight_decay=0.1,
            decayed="matrices",
            schedule=WarmupStableDecay(warmup=0.02, decay=0.1),
        ),
        parallel=Parallel(fsdp=8),
        compute="bfloat16",
        remat="layers",
        accumulate=8,
        validate_every=500,
        checkpoint_every=500,
    ),
    latency=Latency(batch=1, fit=40, held_out=20),
    search=Search(
        algorithm=Nsga2(population=64),
        evaluations=1024,
        constraints=("latency_ms <= 60%",),
        examples=64,
        candidates=16,
    ),
)
