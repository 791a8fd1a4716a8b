"""Every algorithm that a search may name: those that ask and tell, and by gradient."""

from search.registry import AlgorithmSpec
from supernets.gradient_search.specs import GradientSearch

SearchSpec = AlgorithmSpec | GradientSearch
"""How subnets are found.

`GradientSearch` moves a mixture of all subnets by the gradient of its loss; all others
propose subnets and are told what those are worth (`search.registry`). Of a search

- every upper limit on a metric that needs no evaluation is kept;
- objectives that need none are limited in turn, each by `GradientSearch.sweep` values:
  one search for each set of bounds, and a campaign is all of them from one seed;
- the gradient is always that of the loss, summed over tasks, on examples that no subnet
  is evaluated on (`nas.gradient.examples`); what it leads to is compared by the first
  objective that is a score, as the error;
- evaluations and seconds of a campaign are shared by its sets of bounds; `stagnation`
  and `fidelity` are of generations, which it has none of.
"""
