"""A recipe that does everything the quick start does in a fraction of the time."""

from nas import (
    AdamW,
    Decoder,
    Distillation,
    Experiment,
    Latency,
    Losses,
    Nsga2,
    Parallel,
    Phase,
    Sandwich,
    Search,
    StdlibText,
    Training,
)

experiment = Experiment(
    model=Decoder(
        width=(16, 32), heads=(1, 2), ffn=(16, 64), depth=(1, 2), head_dim=16
    ),
    data=StdlibText(tokens=64),
    train=Training(
        steps=60,
        batch=8,
        phases=(
            Phase(
                policy=Sandwich(random=1),
                losses=Losses(taught=Distillation(share=0.2)),
            ),
        ),
        optimizer=AdamW(learning_rate=1e-2),
        validate_every=30,
        checkpoint_every=10,
        parallel=Parallel(data=1),
    ),
    latency=Latency(batch=16, fit=8, held_out=2, rounds=40),
    search=Search(
        algorithm=Nsga2(population=8),
        evaluations=24,
        constraints=("latency_ms <= 95%",),
        examples=8,
        candidates=6,
    ),
)
