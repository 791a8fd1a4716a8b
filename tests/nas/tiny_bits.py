"""The smallest run that chooses bits: seconds, not minutes."""

from nas import (
    Chain,
    Decoder,
    Experiment,
    Latency,
    Nsga2,
    Parallel,
    Phase,
    Precision,
    Search,
    StdlibText,
    Training,
    Uniform,
)

experiment = Experiment(
    model=Decoder(
        width=(16,),
        heads=(1,),
        ffn=(16, 32),
        depth=(1, 2),
        head_dim=16,
        precision=Precision(weights=(2, 8), activations=(8, 16)),
    ),
    data=StdlibText(tokens=32),
    train=Training(
        steps=8,
        batch=8,
        phases=(
            Phase(elastic=("ffn", "depth"), policy=Uniform(subnets=1)),
            Phase(policy=Chain(), calibrate=True),
        ),
        validate_every=4,
        checkpoint_every=4,
        parallel=Parallel(data=1),
    ),
    latency=Latency(batch=1, fit=8, held_out=2, rounds=4),
    search=Search(
        algorithm=Nsga2(population=8),
        evaluations=16,
        objectives=("loss", "size_mb"),
        constraints=("mean_bits <= 6",),
        examples=8,
        candidates=4,
    ),
)
