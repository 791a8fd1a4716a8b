"""A language model found by gradient, beside evolution and random search, in minutes.

    nas run experiments.gradient_lm

The supernet is that of the quick start. Its weights are trained before, on one random
subnet a step, and stand still while the architecture moves: a mixture of all subnets
follows the gradient of its loss under a limit on its expected latency, once for each of
four limits (TangleNAS, Sukthanker 2024, in two stages). It learns from text of the
search split that no subnet is evaluated on.

The claim: a gradient knows which way is better, so it finds subnets that are about as
good with fewer evaluations than a search that only sees losses. NSGA-II and random
search look at as many subnets, in less time, since an evaluation is cheaper than a step
of the architecture; `experiments.benchmarks.gradient` compares them in equal time.

The weights of the front are then trained on, and each of its subnets is also trained
from scratch: the report tells what it is worth with the weights that it inherits,
fine-tuned, and retrained. About twice the time of the quick start.
"""

from nas import (
    AdamW,
    Decoder,
    Experiment,
    FineTune,
    GradientSearch,
    Latency,
    Nsga2,
    Phase,
    Retrain,
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
    ),
    data=StdlibText(tokens=128),
    train=Training(
        steps=1200,
        batch=8,
        phases=(Phase(policy=Uniform(subnets=1)),),
        optimizer=AdamW(learning_rate=4e-3),
        validate_every=100,
        checkpoint_every=100,
    ),
    latency=Latency(batch=1, fit=12, held_out=5),
    search=Search(
        algorithm=GradientSearch(steps=100, batch=8, sweep=4),
        rivals=(Nsga2(population=32),),
        evaluations=128,
        constraints=("latency_ms <= 60%",),
        examples=24,
        candidates=6,
        finetune=FineTune(steps=100, batch=8, learning_rate=4e-4),
        retrain=Retrain(steps=300, batch=8, learning_rate=4e-3),
    ),
)
