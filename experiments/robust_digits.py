"""A vision supernet all of whose subnets withstand an adversary.

    nas run experiments.robust_digits

The largest subnet trains by TRADES; the others learn from it on adversarial inputs,
without labels (ProARD, arXiv 2506.07666). Subnets are searched for error, error under
attack, and operations.

The claim of the paper: one progressive training gives many subnets that are robust at
their own size, where adversarial training of the largest alone leaves subnets that are
neither accurate nor robust.

Measured on a smaller supernet (250 steps, adversarial error of the largest and of the
smallest subnet on the test split): 0.51 0.75 by these losses, 0.96 0.99 trained without
an adversary; errors on inputs as they are pay for it, 0.26 0.58 against 0.16 0.29. To
check it:

    pytest -m long tests/experiments/test_claims.py -k robust

This recipe, on the test split: from an error of 0.08 and an adversarial error of 0.26
at 36 thousand parameters to 0.28 and 0.59 at 5 thousand.
"""

from nas import (
    AdamW,
    AdversarialDistillation,
    Digits,
    Experiment,
    Latency,
    Losses,
    Nsga2,
    Pgd,
    Sandwich,
    Search,
    Trades,
    Training,
    VisionTransformer,
    progressive,
)

ADVERSARY = Pgd(epsilon=0.1, step_size=0.03, steps=5)
"""Changes of at most a tenth of the range of a pixel."""

model = VisionTransformer(
    image=(8, 8, 1),
    patch=2,
    classes=10,
    width=(32, 48),
    heads=(1, 2, 3),
    ffn=(32, 64, 128),
    depth=(1, 2, 3),
    head_dim=16,
)

experiment = Experiment(
    model=model,
    data=Digits(),
    train=Training(
        steps=600,
        batch=64,
        phases=progressive(
            model.space(),
            policy=Sandwich(random=1),
            losses=Losses(
                largest=Trades(beta=3.0, adversary=ADVERSARY),
                taught=AdversarialDistillation(adversary=ADVERSARY),
            ),
        ),
        optimizer=AdamW(learning_rate=2e-3, weight_decay=0.05),
    ),
    latency=Latency(batch=8, fit=12, held_out=5),
    search=Search(
        algorithm=Nsga2(population=32),
        evaluations=96,
        objectives=("error", "adversarial_error", "macs"),
        constraints=("macs <= 60%",),
        adversary=ADVERSARY,
        examples=180,
    ),
)
