"""One network for two tasks, whose user trades one against the other, in three minutes.

    nas run experiments.controllable_multitask

Tells two overlapping digits apart (MultiMNIST, Sabour 2017) with an encoder that both
tasks share and a decoder for each. The claim that it follows is that of Efficient
Controllable Multi-Task Architectures (arXiv 2308.11744, of which we had the abstract):
at run time and under one budget, tasks are traded against each other by the size of
their decoders. The preferred one gets the larger, and the encoder is then what fits.
Encoders of all widths are taught to give the features of the largest
(`FeatureDistillation`), so that any decoder goes with any of them.

The search looks for the front of both errors and the latency. What a preference gains
is measured by `experiments.benchmarks.multitask`. At this scale, over three seeds, the
rule of the largest against the smallest decoder makes the other task err 6% to 26% more
often than without a preference, and gains the preferred one nothing that seeds do not
also change (-4% to +13%). A search that may choose decoders too gives the preferred
task the larger one in 12 of 18 cases. At the smallest budget it then errs less often,
by 3% and 12%.
"""

from nas import (
    AdamW,
    Experiment,
    Latency,
    Losses,
    Nsga2,
    Phase,
    Sandwich,
    Search,
    Training,
)
from nas.data import DigitPairs
from supernets.losses.feature_distillation import FeatureDistillation
from supernets.multitask.spec import MultiTask, Task

# What a preferred task gets of the largest, the other gives up: 128 + 0 = 64 + 64.
UNITS = (0, 64, 128)

experiment = Experiment(
    model=MultiTask(
        image=(12, 12, 1),
        patch=3,
        width=(32, 48, 64),
        heads=(1, 2, 3),
        ffn=(32, 64, 128),
        depth=(1, 2, 3),
        head_dim=16,
        tasks=(
            Task(name="left", classes=10, units=UNITS),
            Task(name="right", classes=10, units=UNITS),
        ),
    ),
    data=DigitPairs(),
    train=Training(
        steps=600,
        batch=64,
        phases=(
            Phase(
                policy=Sandwich(random=2),
                losses=Losses(taught=FeatureDistillation(share=0.3, logits_share=0.3)),
            ),
        ),
        optimizer=AdamW(learning_rate=3e-3, weight_decay=0.05),
        validate_every=100,
        checkpoint_every=100,
    ),
    latency=Latency(batch=8, fit=12, held_out=5),
    search=Search(
        algorithm=Nsga2(population=32),
        evaluations=128,
        objectives=("error_left", "error_right", "latency_ms"),
        constraints=("latency_ms <= 60%",),
        examples=1024,
    ),
)
