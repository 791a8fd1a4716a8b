"""A byte-level language model whose layers choose their shape and their bits.

    nas run experiments.elastic_bits_lm

The first half of the training is that of the quick start, in 16 bits. Then scales are
searched for 2, 3, 4, 6 and 8 bits, and weights and scales learn together, each step at
random bits and shapes. The search looks for networks of low loss that take at most a
fifth of the room of the largest one, all sizes and bits together; the front is
exported as packed integers.

Expected: a front of two dozen subnets along which the test loss falls as files grow.
Measured: 3.02 bits per byte in 0.025 MB (two layers of 2 bits) to 2.50 in 0.141 MB
(three layers of 8, 4 and 4 bits); the largest subnet takes 0.91 MB in 16 bits.
"""

from nas import (
    AdamW,
    Decoder,
    Experiment,
    Latency,
    Nsga2,
    Phase,
    Precision,
    Search,
    StdlibText,
    Training,
    Uniform,
)

experiment = Experiment(
    model=Decoder(
        width=(48, 64, 96),
        heads=(1, 2, 3),
        ffn=(64, 128, 192, 256),
        depth=(2, 3, 4),
        head_dim=32,
        precision=Precision(weights=(2, 3, 4, 6, 8, 16)),
    ),
    data=StdlibText(tokens=128),
    train=Training(
        steps=1600,
        batch=8,
        phases=(
            Phase(
                elastic=("width", "heads", "ffn", "depth"),
                policy=Uniform(subnets=1),
            ),
            Phase(policy=Uniform(subnets=1), calibrate=True),
        ),
        optimizer=AdamW(learning_rate=4e-3),
        validate_every=200,
        checkpoint_every=200,
    ),
    latency=Latency(fit=24, held_out=10),
    search=Search(
        algorithm=Nsga2(population=32),
        evaluations=256,
        objectives=("loss", "size_mb"),
        constraints=("size_mb <= 20%",),
        examples=24,
        candidates=24,
    ),
)
