"""A vision transformer for handwritten digits, found by gradient, in minutes.

    nas run experiments.gradient_vit

The supernet of `experiments.digits_vit`, trained by the sandwich rule. The architecture
then follows the gradient of the loss, since an error has none, within four limits on
the latency; subnets are compared by their error on 200 images of the search split, and
the architecture learns from its other 159. Three seeds search within each limit, and
those that fall behind are stopped (ASHA), so that their lines in the report end early.
To compare seeds to their end, give `--search.algorithm.no-prune`.

The claim: what a gradient finds is no worse than what random search finds at the same
number of evaluations. About twice the time of `experiments.digits_vit`.
"""

from nas import (
    AdamW,
    Digits,
    Distillation,
    Experiment,
    GradientSearch,
    Latency,
    Losses,
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
        algorithm=GradientSearch(steps=150, batch=64, sweep=4),
        evaluations=128,
        seeds=3,
        objectives=("error", "latency_ms"),
        constraints=("latency_ms <= 70%",),
        examples=200,
    ),
)
