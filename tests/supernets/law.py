"""One subnet run in different ways, each a compiled program of loss and gradients.

Programs take weights, inputs, targets and a genotype, which those of one subnet do not
read, and return ``((loss, logits), gradients)`` with gradients in the full shapes.
"""

import jax
import numpy as np

from supernets.execution import run_subnet
from supernets.losses.entropy import data_loss
from supernets.lowering import fixed_extents, indexed_extents, mixed_extents
from tests.kernels.comparison import assert_equal, quick_jit
from tests.supernets.toy import active_parts, poisoned, with_weights


def outcome(run):
    """Compiles ``run(weights, inputs, genotype)``, which returns logits."""

    def loss(weights, inputs, targets, genotype):
        logits = run(weights, inputs, genotype)
        return data_loss(logits, targets), logits

    return quick_jit(jax.value_and_grad(loss, has_aux=True))


def masked(spec):
    """One program for all subnets, with weights masked to traced sizes."""

    def run(weights, inputs, genotype):
        extents = indexed_extents(spec.space(), genotype, "masked")
        return with_weights(spec, weights)(inputs, extents)

    return outcome(run)


def switched(spec):
    """One program for all subnets, which switches among bodies of static sizes."""

    def run(genotype, weights, inputs, targets):
        def differentiated(extents, weights, inputs, targets):
            def loss(weights):
                logits = with_weights(spec, weights)(inputs, extents)
                return data_loss(logits, targets), logits

            return jax.value_and_grad(loss, has_aux=True)(weights)

        operands = weights, inputs, targets
        return run_subnet(
            spec.space(), genotype, differentiated, *operands, execution="switched"
        )

    compiled = quick_jit(run)
    return lambda weights, inputs, targets, genotype: compiled(
        genotype, weights, inputs, targets
    )


def mixed(spec):
    """One program for all subnets; takes probabilities in place of a genotype."""

    def run(weights, inputs, probabilities):
        extents = mixed_extents(spec.space(), probabilities)
        return with_weights(spec, weights)(inputs, extents)

    return outcome(run)


def sliced(spec, architecture):
    """The program of one subnet, with weights sliced to static sizes."""
    extents = fixed_extents(spec.space(), spec.space().encode(architecture))
    return outcome(lambda w, inputs, _: with_weights(spec, w)(inputs, extents))


def extracted(spec, architecture):
    """The program of a network cut out, differentiated through the extraction."""

    def run(weights, inputs, _):
        return spec.extract(with_weights(spec, weights), architecture)(inputs)

    return outcome(run)


def assert_nothing_leaks(run, spec, architecture, weights, *operands):
    """Runs a subnet twice: what it does not have has no gradient and no influence."""
    found = run(weights, *operands)
    for name, part in active_parts(spec, architecture).items():
        assert not np.any(found[1][name], where=~part), name
    assert_equal(run(poisoned(spec, weights, architecture), *operands), found)
    return found
