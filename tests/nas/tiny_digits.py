"""A recipe of images and two tasks, each an objective, in little time."""

from nas import (
    AdamW,
    Experiment,
    Latency,
    Nsga2,
    Phase,
    Sandwich,
    Search,
    Training,
)
from nas.data import DigitTasks
from supernets.multitask.spec import MultiTask, Task

experiment = Experiment(
    model=MultiTask(
        image=(12, 12, 1),
        patch=4,
        width=(16, 32),
        heads=(1, 2),
        ffn=(16, 64),
        depth=(1, 2),
        head_dim=16,
        tasks=(
            Task(name="digit", classes=10, units=(8, 32)),
            Task(name="corner", classes=4, units=(8,)),
        ),
    ),
    data=DigitTasks(),
    train=Training(
        steps=60,
        batch=32,
        phases=(Phase(policy=Sandwich(random=1)),),
        optimizer=AdamW(learning_rate=4e-3),
        validate_every=30,
        checkpoint_every=30,
    ),
    latency=Latency(batch=16, fit=9, held_out=2, rounds=40),
    search=Search(
        algorithm=Nsga2(population=8),
        evaluations=24,
        objectives=("error_digit", "error_corner", "latency_ms"),
        constraints=("latency_ms <= 95%",),
        examples=100,
        candidates=4,
    ),
)
