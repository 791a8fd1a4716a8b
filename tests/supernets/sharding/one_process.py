"""One of several processes that train together: ``python -m ... RANK COUNT PORT``.

Its last line is JSON: the examples it gave, the losses, and the norm of the weights.
"""

import json
import sys

import jax
import numpy as np
import optax

from supernets.losses.loss import Batch
from supernets.policies.policy import Moment, Subnets
from supernets.policies.sandwich import Sandwich
from supernets.sharding.layout import Layout
from supernets.sharding.spec import Parallel
from supernets.training import initial_state
from tests.supernets.steps import quick_step
from tests.supernets.toy import (
    random_weights,
    random_windows,
    small_decoder,
    unweighted,
    with_weights,
)

DEVICES, EXAMPLES = 4, 4
SPEC = small_decoder(heads=(2, 4), ffn=(4, 8), width=(8,), depth=(1,))
POLICY = Sandwich(random=1)


def main(rank: int, count: int, port: int) -> None:
    jax.config.update("jax_num_cpu_devices", DEVICES // count)
    if count > 1:
        jax.distributed.initialize(f"localhost:{port}", count, rank)
    space, optimizer = SPEC.space(), optax.adam(0.1)
    layout = Layout.of(Parallel(fsdp=1, tensor=2), unweighted(SPEC))
    step = quick_step(
        SPEC, POLICY.slots(space), optimizer, execution="masked", layout=layout
    )
    weights = with_weights(SPEC, random_weights(SPEC))
    state = layout.place(initial_state(weights, optimizer))
    subnets = Subnets(space, lambda rows: rows.sum(1).astype(float))
    mine = layout.examples(EXAMPLES)
    for number in range(2):
        whole = Batch(*map(np.asarray, random_windows(number, batch=EXAMPLES)))
        batch = layout.batch(jax.tree.map(lambda part: part[mine], whole))
        draw = POLICY.draw(subnets, Moment(0, number, 2))
        state, metrics = step(state, batch, draw, number)
    params = jax.device_get(layout.replicate(state.params))
    told = {
        "examples": [mine.start, mine.stop],
        "losses": np.asarray(metrics.losses).tolist(),
        "norm": float(optax.tree.norm(params)),
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
