"""A vision transformer on handwritten digits whose layers choose their bits.

    nas run experiments.elastic_bits_vit

Weights of 2 to 8 bits are the leading bits of the same 8-bit codes (MatQuant, Nair
2025), activations have 4 or 8. Layers also choose whether all of a weight has one scale
or each channel its own, and whether there are zero points. Every step trains the most
bits, random ones and the fewest, each taught by the one before (group progressive
guidance of EQ-Net, Xu 2023). The search looks for networks of low error that need at
most a quarter of the bit operations of the largest one.

Expected: a front along which the error falls as bit operations rise. Measured, on test
data: 16.4% at 10.6 million bit operations to 6.4% at 96.7 million; the largest subnet
has 2.5% at 875 million.
"""

from nas import (
    AdamW,
    Chain,
    Digits,
    Experiment,
    Latency,
    Nsga2,
    Phase,
    Precision,
    Regularization,
    Search,
    Training,
    Uniform,
    VisionTransformer,
)

experiment = Experiment(
    model=VisionTransformer(
        image=(8, 8, 1),
        patch=4,
        classes=10,
        width=(16, 32, 64),
        heads=(1, 2, 4),
        ffn=(16, 32, 64, 128),
        depth=(1, 2, 3),
        head_dim=16,
        precision=Precision(
            weights=(2, 3, 4, 6, 8),
            activations=(4, 8),
            mechanism="nested",
            granularity=("tensor", "channel"),
            symmetric=(True, False),
        ),
    ),
    data=Digits(shift=1),
    train=Training(
        steps=1200,
        batch=64,
        phases=(
            Phase(
                elastic=("width", "heads", "ffn", "depth"),
                policy=Uniform(subnets=1),
            ),
            Phase(policy=Chain(random=1), calibrate=True),
        ),
        optimizer=AdamW(learning_rate=4e-3, weight_decay=0.05),
        regularization=Regularization(skewness=1e-3, kurtosis=1e-3),
        validate_every=100,
        checkpoint_every=200,
    ),
    latency=Latency(batch=32, fit=12, held_out=5),
    search=Search(
        algorithm=Nsga2(population=32),
        evaluations=256,
        objectives=("error", "bops"),
        constraints=("bops <= 25%",),
        # All there are: one of them is 0.3% of the error.
        examples=359,
    ),
)
