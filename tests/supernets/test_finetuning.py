"""A network alone: it learns from where it is, and scores as it does inside."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from supernets.decoder.spec import Decoder
from supernets.evaluation import make_evaluate
from supernets.finetuning import finetune, score_alone
from supernets.losses.loss import Batch
from supernets.losses.pgd import Pgd
from supernets.vision.spec import VisionTransformer

# Default runs leave out what only repeats the work of smaller tests.
pytestmark = pytest.mark.slow

SIZES = {"width": (8, 16), "heads": (1, 2), "ffn": (8, 16), "depth": (1, 2)}
DECODER = Decoder(**SIZES, head_dim=4)
VISION = VisionTransformer(**SIZES, head_dim=4, image=(8, 8, 1))
TOKENS = np.random.default_rng(0).integers(0, 256, (4, 9), np.int32)


def subnet(model=DECODER, seed=0):
    """Returns a supernet, a genotype, and its network alone."""
    supernet, space = model.build(rngs=nnx.Rngs(seed)), model.space()
    genotype = space.smallest.copy()
    genotype[-1] = space.largest[-1]
    return supernet, genotype, model.extract(supernet, space.decode(genotype))


def batches(count):
    one = Batch(jnp.asarray(TOKENS[:, :-1]), jnp.asarray(TOKENS[:, 1:]))
    return [one] * count


def weights(network):
    return jax.tree.leaves(nnx.state(network, nnx.Param))


def test_a_network_learns_from_the_weights_that_it_has():
    supernet, genotype, network = subnet()
    losses = []
    before = [np.array(weight) for weight in weights(network)]
    inputs, targets = TOKENS[:, :-1], TOKENS[:, 1:]
    at_first = score_alone(network, inputs, targets)["loss"]
    finetune(network, optax.adam(1e-2), batches(12), on_step=losses.append)
    assert losses[0] == pytest.approx(at_first, rel=1e-5)
    assert losses[-1] < losses[0] - 0.1
    assert any(
        not np.array_equal(old, new)
        for old, new in zip(before, weights(network), strict=True)
    )
    # The supernet that it was cut from stays as it is.
    again = DECODER.extract(supernet, DECODER.space().decode(genotype))
    for old, new in zip(before, weights(again), strict=True):
        np.testing.assert_array_equal(old, new)


def test_training_twice_gives_the_same_weights():
    networks = [subnet()[2] for _ in range(2)]
    for network in networks:
        finetune(network, optax.adam(1e-2), batches(3), on_step=lambda _: None)
    for one, two in zip(*map(weights, networks), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("adversary", [None, Pgd(steps=2)])
def test_a_network_scores_alone_as_it_does_inside_its_supernet(adversary):
    rng = np.random.default_rng(1)
    inputs = rng.random((4, 8, 8, 1)).astype(np.float32)
    targets = rng.integers(0, 10, 4, np.int32)
    supernet, genotype, network = subnet(VISION)
    evaluate = make_evaluate(supernet, VISION.space(), adversary=adversary)
    params = nnx.state(supernet, nnx.Param)
    inside = evaluate(params, genotype[None], inputs, targets)
    alone = score_alone(network, inputs, targets, adversary=adversary)
    assert alone.keys() == inside.keys()
    for name, value in alone.items():
        assert value == pytest.approx(float(inside[name][0]), rel=1e-4)
