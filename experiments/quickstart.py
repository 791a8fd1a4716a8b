"""A byte-level language model supernet, searched under a latency bound, in minutes.

    nas run experiments.quickstart

Trains on the source text of the Python standard library, elastic in depth, width, heads
and feed-forward size; searches with Ray Tune for subnets that take at most 60% of the
largest one's latency; measures, verifies and exports the front; and writes
`runs/quickstart/report.html`.
"""

from nas import (
    AdamW,
    Decoder,
    Experiment,
    Latency,
    Nsga2,
    Phase,
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
        # The best of the policies that experiments.benchmarks.policies compares.
        phases=(Phase(policy=Uniform(subnets=1)),),
        optimizer=AdamW(learning_rate=4e-3),
        validate_every=100,
        checkpoint_every=100,
    ),
    latency=Latency(fit=24, held_out=10),
    search=Search(
        algorithm=Nsga2(population=32),
        evaluations=128,
        constraints=("latency_ms <= 60%",),
        examples=24,
    ),
)
