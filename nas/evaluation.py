"""What an evaluator actor does: score subnets of the trained supernet."""

import dataclasses
from operator import itemgetter

import numpy as np

from nas.allocator import keep_memory
from nas.data.dataset import in_units
from nas.experiment import Experiment
from search.fidelity import WHOLE, Part
from search.problem import Metrics
from search.space import Genotypes
from search.workers import CHUNK, EvaluateBatch, Weights

PROXY_EXAMPLES = 16
"""Examples that zero-cost proxies look at: the first of those of an evaluation."""


@dataclasses.dataclass(frozen=True)
class MakeEvaluate:
    """Builds the supernet in the process it is called in and scores chunks there."""

    experiment: Experiment

    def __call__(self, weights: Weights) -> EvaluateBatch:
        """Returns a function from at most `CHUNK` genotypes to their scores.

        They are on a part of the examples, which are in equal pieces so that all parts
        share one program; what is left over of the last is not used. Losses are in the
        unit of the data.

        Raises:
            ValueError: If there are fewer examples than pieces.
        """
        keep_memory()
        # Imported here: only the evaluator's own process starts an array library.
        import jax
        from flax import nnx

        from supernets.evaluation import make_evaluate
        from supernets.proxies.population import make_proxies
        from supernets.weights import set_weights

        model, search = self.experiment.model, self.experiment.search
        supernet = nnx.eval_shape(lambda: model.build(rngs=nnx.Rngs(0)))
        set_weights(supernet, weights)
        params = jax.device_put(nnx.state(supernet, nnx.Param))
        execution = self.experiment.execution
        score = make_evaluate(
            supernet,
            model.space(),
            adversary=search.adversary,
            execution=execution,
        )
        data = self.experiment.data
        inputs, targets = data.fixed("search", search.examples)
        first = jax.tree.map(itemgetter(slice(PROXY_EXAMPLES)), (inputs, targets))
        proxies = None
        if search.proxies:
            proxies = make_proxies(
                supernet, model.space(), search.proxies, execution=execution
            )

        pieces = 1 if search.fidelity is None else search.fidelity.pieces
        size = len(inputs) // pieces
        if not size:
            raise ValueError(
                f"search.fidelity needs {pieces} examples, the search split of "
                f"{data.title} has {len(inputs)}"
            )
        examples = [
            jax.tree.map(itemgetter(slice(at, at + size)), (inputs, targets))
            for at in range(0, pieces * size, size)
        ]

        def evaluate(genotypes: Genotypes, part: Part = WHOLE) -> Metrics:
            # Always the same number, so that the program compiles once.
            missing = CHUNK - len(genotypes)
            padded = np.concatenate([genotypes, np.repeat(genotypes[:1], missing, 0)])
            start, stop = (round(share * pieces) for share in part)
            found = [score(params, padded, *piece) for piece in examples[start:stop]]
            means = {
                name: np.mean([values[name] for values in found], axis=0)
                for name in found[0]
            }
            scores = in_units(data, means)
            if proxies is not None:
                scores |= proxies(params, padded, *first)
            return {name: values[: len(genotypes)] for name, values in scores.items()}

        return evaluate
