"""What an evaluator actor does: score subnets of the trained supernet."""

import dataclasses

import numpy as np

from nas.allocator import keep_memory
from nas.data.dataset import in_units
from nas.experiment import Experiment
from search.problem import Metrics
from search.space import Genotypes
from search.workers import CHUNK, EvaluateBatch, Weights


@dataclasses.dataclass(frozen=True)
class MakeEvaluate:
    """Builds the supernet in the process it is called in and scores chunks there."""

    experiment: Experiment

    def __call__(self, weights: Weights) -> EvaluateBatch:
        """Returns a function from at most `CHUNK` genotypes to their scores.

        Losses are in the unit of the data.
        """
        keep_memory()
        # Imported here: only the evaluator's own process starts an array library.
        import jax
        from flax import nnx

        from supernets.evaluation import make_evaluate
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

        def evaluate(genotypes: Genotypes) -> Metrics:
            # Always the same number, so that the program compiles once.
            missing = CHUNK - len(genotypes)
            padded = np.concatenate([genotypes, np.repeat(genotypes[:1], missing, 0)])
            scores = in_units(data, score(params, padded, inputs, targets))
            return {name: values[: len(genotypes)] for name, values in scores.items()}

        return evaluate
