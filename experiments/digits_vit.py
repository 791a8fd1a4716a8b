"""A vision transformer supernet on handwritten digits, in two minutes.

    nas run experiments.digits_vit

Trains on 1078 of scikit-learn's images of 8 x 8 pixels, moved by up to a pixel so that
small subnets cannot learn them by heart; elastic in depth, width, heads and
feed-forward size. Searches for subnets of low error on 359 others that take at most 70%
of the largest one's latency on 32 images, and tells their error on the last 360.

Expected: a front along which the test error falls from under 10% to under 4%. Measured
on two cores of an AMD EPYC, in 112 s of processor time: ten subnets from 0.27 to 0.59
ms, with test errors from 7.5% to 2.2%; the largest takes 0.93 ms and errs in 1.7%.
"""

from nas import (
    AdamW,
    Digits,
    Distillation,
    Experiment,
    Latency,
    Losses,
    Nsga2,
    Phase,
    Sandwich,
    Search,
    Training,
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
    ),
    data=Digits(shift=1),
    train=Training(
        steps=1000,
        batch=64,
        phases=(
            Phase(
                policy=Sandwich(random=2),
                losses=Losses(taught=Distillation(share=0.5)),
            ),
        ),
        optimizer=AdamW(learning_rate=4e-3, weight_decay=0.05),
        validate_every=100,
        checkpoint_every=200,
    ),
    latency=Latency(batch=32, fit=12, held_out=5),
    search=Search(
        algorithm=Nsga2(population=32),
        evaluations=128,
        objectives=("error", "latency_ms"),
        constraints=("latency_ms <= 70%",),
        # All there are: one of them is 0.3% of the error.
        examples=359,
    ),
)
