"""Evaluation of populations by one program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from supernets import evaluation
from supernets.evaluation import make_evaluate, scores
from supernets.losses.entropy import cross_entropy, data_loss
from supernets.losses.pgd import Pgd
from tests.kernels.comparison import (
    assert_close,
    assert_equal,
    quick_jit,
    quick_options,
)
from tests.supernets.toy import (
    TASKS,
    random_batch,
    random_weights,
    random_windows,
    small_decoder,
    small_multi_task,
    small_vision,
    unweighted,
    with_weights,
)
from tests.variants import mainly

SPEC = small_decoder(depth_rule="free")
SPACE = SPEC.space()
WINDOWS = tuple(np.asarray(part) for part in random_windows(batch=3))


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(evaluation, "QUICK_TO_COMPILE", quick_options())
        yield


@pytest.fixture(scope="module", params=mainly("masked", "switched"))
def evaluate(request):
    """Losses of a population under random weights."""
    score = make_evaluate(unweighted(SPEC), SPACE, execution=request.param)

    def run(genotypes):
        return score(params_of(SPEC), genotypes, *WINDOWS)["loss"]

    return run


def params_of(spec):
    return nnx.state(with_weights(spec, random_weights(spec)), nnx.Param)


def population(seed, size=6):
    return SPACE.sample(size, np.random.default_rng(seed))


def test_scores_are_those_of_the_extracted_networks(evaluate):
    genotypes = population(0)
    losses = evaluate(genotypes)
    assert losses.dtype == np.float64
    for genotype, loss in list(zip(genotypes, losses, strict=True))[:2]:
        logits = extracted_logits(SPEC, genotype, WINDOWS[0])
        assert_close(loss, float(cross_entropy(logits, jnp.asarray(WINDOWS[1]))))


def extracted_logits(spec, genotype, inputs):
    supernet = with_weights(spec, random_weights(spec))
    network = spec.extract(supernet, spec.space().decode(genotype))
    graph, state = nnx.split(network)
    return quick_jit(lambda s, x: nnx.merge(graph, s)(x))(state, inputs)


@pytest.mark.slow
@pytest.mark.parametrize("spec", [small_vision(), small_multi_task()])
def test_images_and_tasks_are_scored_too(spec):
    space = spec.space()
    # Of one subnet nothing is compiled to tell how many run side by side.
    genotypes = space.sample(1, np.random.default_rng(0))
    inputs, targets = random_batch(spec)
    evaluate = make_evaluate(unweighted(spec), space, execution="masked")
    data = jax.tree.map(np.asarray, (inputs, targets))
    found = evaluate(params_of(spec), genotypes, *data)
    logits = extracted_logits(spec, genotypes[0], inputs)
    expected = scores(logits, targets)
    assert found.keys() == expected.keys()
    for name, values in found.items():
        assert_close(values, [float(expected[name])])


@pytest.mark.slow
@pytest.mark.parametrize(
    "execution", [pytest.param("masked", marks=pytest.mark.slow), "switched"]
)
def test_each_subnet_is_attacked_at_its_own_loss_by_one_program(
    execution, compilations
):
    spec, adversary = small_vision(), Pgd(epsilon=0.5, step_size=0.2, steps=3)
    space, params = spec.space(), params_of(spec)
    inputs, targets = image_data(spec, examples=24)
    evaluate = make_evaluate(
        unweighted(spec), space, adversary=adversary, execution=execution, budget=0
    )
    genotypes = np.stack([space.smallest, space.largest])
    found = evaluate(params, genotypes, inputs, targets)
    expected = attacked_error(spec, genotypes[0], adversary, inputs, targets)
    assert_close(found["adversarial_error"][0], expected)
    harm = found["adversarial_error"] - found["error"]
    assert (harm >= 0).all()
    assert (harm > 0).any()
    # The same start whenever it is asked.
    compilations.clear()
    again = evaluate(params, genotypes[::-1], inputs, targets)
    assert not compilations
    assert_equal(again["adversarial_error"][::-1], found["adversarial_error"])


def image_data(spec, examples):
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(examples, *spec.image)).astype(np.float32)
    return images, rng.integers(0, spec.classes, examples).astype(np.int32)


def attacked_error(spec, genotype, adversary, inputs, targets):
    """The share of wrong predictions of the extracted network under its own attack."""
    supernet = with_weights(spec, random_weights(spec))
    network = spec.extract(supernet, spec.space().decode(genotype))
    graph, state = nnx.split(network)

    def run(state, inputs, targets):
        def harm(x):
            return cross_entropy(nnx.merge(graph, state)(x), targets)

        key = jax.random.key(evaluation.ATTACK_SEED)
        changed = adversary.attack(harm, inputs, key)
        return scores(nnx.merge(graph, state)(changed), targets)["error"]

    return quick_jit(run)(state, jnp.asarray(inputs), jnp.asarray(targets))


def test_scores_are_mean_loss_in_nats_and_share_of_wrong_predictions():
    logits = jnp.log(jnp.asarray([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8]]))
    targets = jnp.asarray([0, 2, 2])
    found = scores(logits, targets)
    assert found.keys() == {"loss", "error"}
    assert_close(found["loss"], -np.log([0.7, 0.3, 0.8]).mean(dtype=np.float32))
    assert_close(found["error"], np.float32(1 / 3))
    # Of every position of a sequence.
    sequence = scores(logits[None], targets[None])
    assert_close(sequence, found)


def test_scores_of_tasks_are_their_summed_loss_and_mean_error():
    rng = np.random.default_rng(0)
    logits = {
        task: jnp.asarray(rng.normal(size=(8, classes)), jnp.float32)
        for task, classes in TASKS.items()
    }
    targets = {task: jnp.zeros(8, jnp.int32) for task in TASKS}
    found = scores(logits, targets)
    alone = {task: scores(logits[task], targets[task]) for task in TASKS}
    for task, score in alone.items():
        assert_equal(found[f"loss_{task}"], score["loss"])
        assert_equal(found[f"error_{task}"], score["error"])
    # Training minimises the same sum.
    assert_close(found["loss"], data_loss(logits, targets))
    assert_close(found["error"], np.mean([s["error"] for s in alone.values()]))
    assert len(found) == 2 + 2 * len(TASKS)


@pytest.mark.slow
def test_few_programs_evaluate_a_search_of_500_subnets(compilations):
    state = params_of(SPEC)
    genotypes = SPACE.sample(500, np.random.default_rng(0))
    for execution in ("masked", "switched"):
        score = make_evaluate(unweighted(SPEC), SPACE, execution=execution)
        compilations.clear()
        found = [score(state, g, *WINDOWS)["loss"] for g in np.split(genotypes, 50)]
        # Masked: one, and two that tell how many subnets fit side by side.
        assert len(compilations) <= (4 if execution == "masked" else 2)
        assert len(np.unique(found)) > 20


def test_a_loss_does_not_depend_on_the_place_in_the_population(evaluate):
    genotypes = population(0)
    losses = evaluate(genotypes)
    order = np.random.default_rng(0).permutation(len(genotypes))
    assert_equal(evaluate(genotypes[order]), losses[order])
    for row in range(len(genotypes)):
        alike = np.repeat(genotypes[row : row + 1], len(genotypes), axis=0)
        assert_equal(evaluate(alike), np.full(len(genotypes), losses[row]))


def test_genes_of_layers_that_do_not_run_change_no_loss(evaluate):
    genotypes = population(1)
    rng = np.random.default_rng(1)
    noise = rng.integers(0, SPACE.cardinalities[None], genotypes.shape)
    noisy = np.where(SPACE.active_genes(genotypes), genotypes, noise).astype(np.int32)
    assert (noisy != genotypes).any()
    assert_equal(evaluate(noisy), evaluate(genotypes))


@pytest.mark.slow
def test_masked_subnets_run_side_by_side_as_memory_allows():
    state = params_of(SPEC)
    genotypes = population(0, 8)
    losses = []
    for budget in (0, 10**9):
        score = make_evaluate(
            unweighted(SPEC), SPACE, execution="masked", budget=budget
        )
        losses.append(score(state, genotypes, *WINDOWS)["loss"])
    assert_close(losses[0], losses[1])
