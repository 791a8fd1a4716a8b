"""The policies that are compared, and the subnets that they are judged by."""

import dataclasses

from experiments.benchmarks.policies_training import Recipe, Setting
from nas import (
    AdamW,
    Decoder,
    Distillation,
    Losses,
    Phase,
    Sandwich,
    StdlibText,
)
from search.space import Architecture, Genotype, Space
from supernets.losses.exits import ExitLoss
from supernets.policies.largest_only import LargestOnly
from supernets.policies.matformer import MatFormer
from supernets.policies.uniform import Uniform
from supernets.progressive import progressive

SETTING = Setting(
    model=Decoder(
        width=(48, 64, 96),
        heads=(1, 2, 3),
        ffn=(64, 128, 192, 256),
        depth=(2, 3, 4),
        head_dim=32,
    ),
    data=StdlibText(tokens=128),
    batch=8,
    windows=192,
)
"""The supernet of the quick start."""

YOUNG_TEACHER = Losses(taught=Distillation(share=0.2))
"""Of all policies with a teacher: in so few steps it knows little."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contender:
    """A policy in the comparison.

    Attributes:
        title: In words, for figures and tables.
        step: What it trains in a step, in words.
        trained: Names of the members of the panel that it ever trains.
        recipe: How it trains.
    """

    title: str
    step: str
    trained: tuple[str, ...]
    recipe: Recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class Member:
    """A subnet of the panel: the same heads and hidden units in every layer.

    Attributes:
        width: Of the model.
        heads: Of each layer.
        ffn: Hidden units of each layer.
        depth: Layers.
    """

    width: int
    heads: int
    ffn: int
    depth: int

    def alone(self, model: Decoder) -> Decoder:
        """Returns the network of this architecture and no other."""
        return dataclasses.replace(
            model,
            width=(self.width,),
            heads=(self.heads,),
            ffn=(self.ffn,),
            depth=(self.depth,),
        )

    def genotype(self, space: Space) -> Genotype:
        """Returns the architecture as a member of a larger space."""
        layers = tuple(range(self.depth))
        architecture = Architecture(
            layers=layers,
            shared=(("width", self.width),),
            per_layer=(
                ("heads", (self.heads,) * self.depth),
                ("ffn", (self.ffn,) * self.depth),
            ),
        )
        return space.encode(architecture)


PANEL = {
    "largest": Member(width=96, heads=3, ffn=256, depth=4),
    # Trained by MatFormer.
    "small feed-forward": Member(width=96, heads=3, ffn=64, depth=4),
    # Trained by Sorted.
    "shallow": Member(width=96, heads=3, ffn=256, depth=2),
    "middle": Member(width=64, heads=2, ffn=128, depth=3),
    "smallest": Member(width=48, heads=1, ffn=64, depth=2),
}
"""By name, in falling size."""


def _contender(
    title: str,
    step: str,
    *phases: Phase,
    trained: tuple[str, ...] = tuple(PANEL),
) -> Contender:
    recipe = Recipe(phases=phases, optimizer=AdamW())
    return Contender(title=title, step=step, trained=trained, recipe=recipe)


REFERENCE = "sandwich"
"""The policy whose passes and whose time every policy may spend."""

POLICIES = {
    "own": _contender(
        "Sandwich, own examples",
        "as sandwich, each on examples of its own and without a teacher",
        Phase(
            policy=Sandwich(random=2, sampling="uniform", teacher="data"),
            examples="own",
        ),
    ),
    "progressive": _contender(
        "Progressive sandwich",
        "the largest alone, later a sandwich of ever more open axes",
        *progressive(SETTING.model.space(), losses=YOUNG_TEACHER),
    ),
    REFERENCE: _contender(
        "Sandwich",
        "the largest, the smallest and two random subnets",
        Phase(policy=Sandwich(random=2), losses=YOUNG_TEACHER),
    ),
    "uniform": _contender(
        "Uniform", "one random subnet", Phase(policy=Uniform(subnets=1))
    ),
    "matformer": _contender(
        "MatFormer",
        "every feed-forward size, all else at its largest",
        Phase(policy=MatFormer(granularities="all")),
        trained=("largest", "small feed-forward"),
    ),
    "sorted": _contender(
        "Sorted",
        "every depth in one pass, all else at its largest",
        Phase(policy=LargestOnly(), losses=Losses(largest=ExitLoss())),
        trained=("largest", "shallow"),
    ),
}
