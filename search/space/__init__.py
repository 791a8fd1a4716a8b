"""Search spaces: choices, integer genotypes, and the architectures they stand for.

A *genotype* is an int32 vector of indices, which is what algorithms see. An
*architecture* is its decoded, frozen, JSON-able form, which is what people and models
see. Genotypes are kept *canonical*: genes of layers that do not run are zero, so two
canonical genotypes are equal exactly when their architectures are.

Gene order: depth (one gene, or one per layer for the ``free`` rule), then the choices
in their order, one gene each or one per layer.
"""

from search.space.architecture import Architecture as Architecture
from search.space.architecture import Json as Json
from search.space.architecture import Rule as Rule
from search.space.choice import Choice as Choice
from search.space.choice import Depth as Depth
from search.space.choice import Value as Value
from search.space.layout import Genotype as Genotype
from search.space.layout import Genotypes as Genotypes
from search.space.space import Count as Count
from search.space.space import Space as Space
