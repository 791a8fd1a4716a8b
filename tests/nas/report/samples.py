"""Reports to draw: a realistic one, and one that is as empty as may be."""

import dataclasses
import hashlib
import math

import numpy as np

from nas.report import (
    Axis,
    Campaign,
    Curve,
    Evaluated,
    Extreme,
    Landmark,
    LatencyError,
    LatencyFit,
    LatencySample,
    Member,
    ReportData,
)

WIDTHS, FFN, HEADS = (128, 192, 256), (256, 512, 768, 1024), (2, 4, 8)
BOUND = 2.31
HUGE = Landmark(cost=3.7, score=2.345, measured=False)
TINY = Landmark(cost=0.58, score=2.93, measured=True)


def loss_at(latency_ms):
    return 2.24 + 0.36 / latency_ms**0.9


def pick(values, size, rng):
    rank = round((len(values) - 1) * size + rng.normal(0, 0.6))
    return values[int(np.clip(rank, 0, len(values) - 1))]


def member(index, size, latency_ms, rng):
    depth = int(np.clip(round(2 + 4 * size), 2, 6))
    params = int(3.1e5 + 2.9e6 * size**1.3)
    id_ = hashlib.sha256(str(index).encode()).hexdigest()[:8]
    return Member(
        id=id_,
        arch={
            "layers": list(range(depth)),
            "width": pick(WIDTHS, size, rng),
            "ffn": [pick(FFN, size, rng) for _ in range(depth)],
            "heads": [pick(HEADS, size, rng) for _ in range(depth)],
        },
        metrics={
            "loss": float(loss_at(latency_ms)),
            "test_loss": float(loss_at(latency_ms) + 0.031 + rng.normal(0, 0.003)),
            "latency_ms": float(latency_ms),
            "params": params,
            "macs": params * 128,
            "flops": params * 256,
            "memory_mb": params * 4 / 1e6,
        },
        predicted={"latency_ms": float(latency_ms * rng.normal(1, 0.03))},
        why="fastest of the front" if index == 0 else "no other is faster and better",
        path=f"subnets/{id_}",
        files=("model.safetensors", "arch.json", "model.stablehlo", "model.onnx"),
        verification="outputs differ by at most 2.4e-07 over 64 inputs",
    )


def extreme(label, depth, width, ffn, heads, params, id_="", known=None):
    return Extreme(
        label=label,
        arch={
            "layers": list(range(depth)),
            "width": width,
            "ffn": [ffn] * depth,
            "heads": [heads] * depth,
        },
        params=params,
        macs=params * 128,
        memory_mb=params * 4 / 1e6,
        id=id_,
        known=known,
    )


def curves(ends, steps, noise, rng):
    return tuple(
        Curve(
            label=label,
            steps=tuple(steps),
            values=tuple(
                end
                + 5.6 * math.exp(-step / 130)
                + 0.5 * math.exp(-step / 900)
                + float(rng.normal(0, noise))
                for step in steps
            ),
        )
        for label, end in ends.items()
    )


def searches(evaluated, rng):
    """Returns three campaigns and everything they evaluated."""
    ends = {"nsga2": (0.731, 0.035), "evolution": (0.712, 0.04), "random": (0.668, 0.1)}
    counts = tuple(range(10, max(evaluated // 3, 10) + 1, 10))
    campaigns = tuple(
        Campaign(
            name=name,
            algorithm=name,
            evaluations=counts,
            hypervolume=tuple(end * (1 - 0.5 * math.exp(-n / 25)) for n in counts),
        )
        for name, (end, _) in ends.items()
    )
    archive = []
    for index, latency_ms in enumerate(rng.uniform(0.6, 3.4, evaluated)):
        name = tuple(ends)[index % 3]
        excess = 0.008 + rng.gamma(1.6, ends[name][1])
        archive.append(
            Evaluated(
                cost=float(latency_ms),
                score=float(loss_at(latency_ms) + excess),
                campaign=name,
                id=f"e{index:07x}",
            )
        )
    archive.append(Evaluated(cost=0.58, score=2.95, campaign="random", id="tiny"))
    return {"campaigns": campaigns, "archive": tuple(archive)}


def latency_fit(rng):
    samples = tuple(
        LatencySample(
            id=f"s{index}",
            measured_ms=float(measured),
            predicted_ms=float(measured * rng.normal(1, 0.035)),
            held_out=index % 4 == 0,
        )
        for index, measured in enumerate(rng.uniform(0.58, 3.7, 48))
    )
    return LatencyFit(
        device="cpu (2 cores), Intel Xeon 2.8 GHz",
        inputs="1 x 128 tokens, float32",
        samples=samples,
        error=LatencyError(
            mape_percent=3.1, within_10_percent=100.0, kendall_tau=0.957
        ),
        source="measured here",
    )


def report_data(members=12, evaluated=300, **changes):
    """Returns a realistic report: a byte-level decoder trained on a laptop."""
    rng = np.random.default_rng(0)
    sizes = np.linspace(0, 1, members) if members > 1 else np.zeros(members)
    front = tuple(
        member(index, 0.8 * size, 0.62 + 1.62 * size**1.25, rng)
        for index, size in enumerate(sizes)
    )
    first = front[0].path if front else "subnets/ID"
    fields = {
        "title": "Quick start: a byte-level decoder",
        "command": "nas run experiments.quickstart --out runs/quickstart --seed 0",
        "created": "2026-11-15T14:32:08+00:00",
        "facts": {
            "Device": "cpu (2 cores), Intel Xeon 2.8 GHz",
            "Versions": "nas-jax 0.1.0, jax 0.10.2, flax 0.12.8, Python 3.11.7",
            "Seed": "0",
            "Git revision": "4f1c2d9 (clean)",
            "Duration": "2 min 41 s",
        },
        "space_size": "about 4.10e+07",
        "axes": (
            Axis(name="depth", values=(2, 3, 4, 5, 6), scope="prefix"),
            Axis(name="width", values=WIDTHS, scope="global"),
            Axis(name="ffn", values=FFN, scope="per layer"),
            Axis(name="heads", values=HEADS, scope="per layer"),
        ),
        "extremes": (
            extreme("smallest", 2, 128, 256, 2, 304_512, "tiny", TINY),
            extreme("middle", 4, 192, 512, 4, 1_480_000),
            extreme("largest", 6, 256, 1024, 8, 4_860_000, "huge", HUGE),
        ),
        "constraints": (f"latency_ms <= {BOUND}",),
        "bound": BOUND,
        "loss_unit": "bits per byte",
        "training": curves(
            {"largest": 2.30, "smallest": 2.86, "sampled": 2.52},
            range(0, 3000, 10),
            0.06,
            rng,
        ),
        "validation": curves(
            {"largest": 2.33, "middle": 2.51, "smallest": 2.93},
            range(100, 3001, 100),
            0.0,
            rng,
        ),
        **searches(evaluated, rng),
        "front": front,
        "latency": latency_fit(rng),
        "stages": (
            ("train", 92.4),
            ("latency profile", 21.7),
            ("search", 17.2),
            ("verify", 8.8),
            ("export", 20.1),
            ("report", 1.6),
        ),
        "load_snippet": (
            "import jax.numpy as jnp\n"
            "import nas\n\n"
            f'subnet = nas.load_subnet("runs/quickstart/{first}")\n'
            "tokens = jnp.zeros((1, 128), jnp.int32)\n"
            "logits = subnet(tokens)\n\n"
            "print(subnet.arch)\n"
            "print(logits.shape)  # (1, 128, 256)\n"
        ),
    }
    return ReportData(**{**fields, **changes})


BITS = (2, 3, 4, 6, 8, 16)


def precise_report(cost="size_mb", scale=1.0, **changes):
    """Returns a report whose layers choose bits, drawn against another cost."""
    data = report_data()
    front = tuple(
        dataclasses.replace(
            member,
            arch=member.arch
            | {"weight_bits": [BITS[min(row // 4 + i % 2, 5)] for i in _layers(member)]}
            | {"activation_bits": [8 if i else 4 for i in _layers(member)]},
            metrics=member.metrics
            | {cost: scale * member.metrics["latency_ms"], "mean_bits": 2 + row / 8},
        )
        for row, member in enumerate(data.front)
    )
    archive = tuple(
        dataclasses.replace(point, cost=scale * point.cost) for point in data.archive
    )
    extremes = tuple(
        dataclasses.replace(
            mark, known=mark.known and mark.known._replace(cost=scale * mark.known.cost)
        )
        for mark in data.extremes
    )
    fields = {
        "costs": (cost,),
        "bound": scale * BOUND,
        "constraints": (f"{cost} <= {scale * BOUND:.4g} (25% of the largest)",),
        "front": front,
        "archive": archive,
        "extremes": extremes,
        "axes": (
            *data.axes,
            Axis(name="weight_bits", values=BITS, scope="per layer"),
            Axis(name="activation_bits", values=(4, 8), scope="per layer"),
        ),
    }
    return dataclasses.replace(data, **{**fields, **changes})


def _layers(member):
    return range(len(member.arch["layers"]))


def bare_report(**changes):
    """Returns a report in which every part that may be empty is."""
    return ReportData(
        title="Bare",
        command="nas run",
        created="today",
        facts={},
        space_size="",
        **changes,
    )
