"""A recipe that does everything the quick start does in a fraction of the time."""

from nas import (
    AdamW,
    Decoder,
    Experiment,
    Latency,
    Nsga2,
    Sandwich,
    Search,
    StdlibText,
    Training,
)

experiment = Experiment(
    model=Decoder(
        width=(16, 32), heads=(1, 2), ffn=(16, 32, 64), depth=(1, 2, 3), head_dim=16
    ),
    data=StdlibText(tokens=64),
    train=Training(
        steps=80,
        batch=8,
        policy=Sandwich(random=1, distillation=0.2),
        optimizer=AdamW(learning_rate=1e-2),
        validate_every=40,
        checkpoint_every=10,
    ),
    latency=Latency(fit=10, held_out=3, rounds=10),
    search=Search(
        algorithm=Nsga2(population=12),
        evaluations=36,
        constraints=("latency_ms <= 95%",),
        windows=8,
        candidates=8,
    ),
)
