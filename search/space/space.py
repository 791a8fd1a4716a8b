"""The space: choices over a stack of layers, with rules, and all its members."""

import dataclasses
import decimal
import functools
import itertools
import math
from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Bool

from search.space import codec, variation
from search.space.architecture import Architecture, Rule, digest
from search.space.choice import Value
from search.space.layout import DepthGenes, Genotype, Genotypes, Layout, constant

MAX_ENUMERATED = 1_000_000
"""Largest space that is enumerated."""

MAX_COUNTED = 20_000
"""Largest space with rules whose members are counted one by one."""

SAMPLES_FOR_SIZE = 4096
"""Draws from which the size of a larger space with rules is estimated."""


@dataclasses.dataclass(frozen=True)
class Count:
    """The size of a space; ``exact`` is false where it was estimated by sampling."""

    value: int
    exact: bool

    def __str__(self) -> str:
        text = f"{self.value:,}"
        if self.value >= 10**7:
            text = f"{decimal.Decimal(self.value):.2e}"
        return text if self.exact else f"about {text}"


@dataclasses.dataclass(frozen=True)
class Space(Layout):
    """An ordered set of choices over a stack of layers.

    >>> from search.space import Choice
    >>> space = Space((Choice("ffn", (64, 128), per_layer=True),), layers=2)
    >>> space.decode(space.largest).to_json()
    {'layers': [0, 1], 'ffn': [128, 128]}

    Attributes:
        choices: The elastic dimensions.
        layers: Number of stored layers.
        depth: How many of them run; ``None`` runs all.
        rules: Validity rules over whole architectures. The smallest and the largest
            member must satisfy them, since the sandwich rule trains both.

    Raises:
        ValueError: If there is nothing to choose, names repeat, depth exceeds the
            layers, or a rule excludes the smallest or largest member.
    """

    rules: tuple[Rule, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.rules:
            return
        for label, genotype in (("smallest", self.smallest), ("largest", self.largest)):
            if broken := self.broken_rules(self.decode(genotype)):
                raise ValueError(f"the {label} architecture breaks a rule: {broken[0]}")

    @functools.cached_property
    def middle(self) -> Genotype:
        """The member with every choice at its middle value.

        Where a rule excludes it, genes move to the largest member's, first to last,
        until none does.
        """
        middle = (self.cardinalities - 1) // 2
        if self.depth is not None and self.free:
            count = self.depth.values[(len(self.depth.values) - 1) // 2]
            middle[: self.layers] = np.arange(self.layers) < count
        moved = np.tri(self.genes + 1, self.genes, -1, dtype=bool)
        path = self.canonical(np.where(moved, self.largest, middle))
        return constant(path[np.argmax(self.valid(path))])

    def decode(self, genotype: Genotype) -> Architecture:
        """Returns the architecture of a genotype; genes that do not matter are ignored.

        Raises:
            ValueError: If the genotype has the wrong length or an illegal index.
        """
        return codec.decode(self, genotype)

    def encode(self, architecture: Architecture) -> Genotype:
        """Returns the canonical genotype of an architecture.

        Raises:
            ValueError: If the architecture is not a member, saying which part is not.
        """
        genotype = codec.encode(self, architecture)
        if broken := self.broken_rules(architecture):
            raise ValueError(f"architecture breaks a rule: {broken[0]}")
        return genotype

    def broken_rules(self, architecture: Architecture) -> list[str]:
        """Returns the descriptions of the rules an architecture breaks."""
        return [r.description for r in self.rules if not r.check(architecture)]

    def valid(self, genotypes: Genotypes) -> Bool[np.ndarray, " population"]:
        """Returns which genotypes are legal and break no rule."""
        allowed = self.legal(genotypes)
        if self.rules:
            for row in np.flatnonzero(allowed):
                allowed[row] = not self.broken_rules(self.decode(genotypes[row]))
        return allowed

    def sample(
        self,
        count: int,
        rng: np.random.Generator,
        tilt: variation.Tilt | None = None,
    ) -> Genotypes:
        """Draws members, every gene uniform over its values (depth included).

        Uniform genes make average members: the mean over many layers hardly varies.
        ``tilt`` says where between small and large each member is to lie. A gene of
        ``k`` values then has the index ``Binomial(k - 1, tilt)``, so its mean is
        ``tilt`` of the way from the first value to the last: 0 gives the smallest
        member and 1 the largest. Under the ``free`` rule the number of layers is drawn
        so, and then which of them run, uniformly.

        A tilt that is uniform in 0..1 leaves every gene by itself uniform (it is
        beta-binomial with both parameters 1), but the genes of one member are then
        alike, so that members of all sizes are drawn.

        Args:
            count: How many.
            rng: Where the randomness comes from.
            tilt: Of each member, in 0..1; without it genes are independent and uniform.

        Raises:
            ValueError: If there is not a tilt in 0..1 for each, or if the rules leave
                no valid draw within 200 tries. Rules shift what a tilt gives.
        """
        if tilt is not None:
            if len(tilt) != count:
                raise ValueError(f"{len(tilt)} tilts for {count} members")
            if wrong := [float(t) for t in tilt if not 0 <= t <= 1]:
                raise ValueError(f"a tilt lies in 0..1, got {wrong[0]}")
        return variation.sample(self, self.valid, count, rng, tilt)

    def mutate(
        self, genotypes: Genotypes, rng: np.random.Generator, probability: float
    ) -> Genotypes:
        """Moves each gene to another value with a probability, and at least one gene.

        Genes of layers that a mutation switches on are drawn uniformly. A child that
        breaks a rule or equals its parent is drawn again; after 200 tries it is its
        parent.
        """
        return variation.mutate(self, self.valid, genotypes, rng, probability)

    def crossover(
        self, first: Genotypes, second: Genotypes, rng: np.random.Generator
    ) -> Genotypes:
        """Takes each gene from one parent at random (uniform crossover).

        The genes of a layer that runs in one parent only come from that parent. A
        child that breaks a rule is drawn again; after 200 tries it is ``first``.
        """
        return variation.crossover(self, self.valid, first, second, rng)

    def neighbours(self, genotype: Genotype) -> Genotypes:
        """Lists the valid members one step away, each once.

        A step changes one gene that matters. Under the ``free`` rule it also swaps a
        running layer for another, or moves to another depth by stopping the last
        running or starting the first idle layers. A layer that a step switches on
        starts at its first values.
        """
        return variation.neighbours(self, self.valid, genotype)

    def enumerate(self, limit: int = MAX_ENUMERATED) -> Genotypes:
        """Lists every member, canonical, each once.

        Raises:
            ValueError: If the space without its rules is larger than ``limit``.
        """
        if (size := sum(self.members_by_depth)) > limit:
            raise ValueError(f"the space has {size:,} members, more than {limit:,}")
        rows = np.concatenate([self._tails(genes) for genes in self._depth_heads()])
        return rows[self.valid(rows)]

    def _depth_heads(self) -> Iterator[DepthGenes]:
        """Yields every legal setting of the depth genes."""
        if self.depth is None or not self.free:
            for index in range(len(self.depth.values) if self.depth else 1):
                yield np.full(self.depth_genes, index, np.int32)
            return
        for count in self.depth.values:
            for layers in itertools.combinations(range(self.layers), count):
                yield np.isin(range(self.layers), layers).astype(np.int32)

    def _tails(self, head: DepthGenes) -> Genotypes:
        """Returns every canonical genotype with the given depth genes."""
        probe = np.zeros(self.genes, np.int32)
        probe[: len(head)] = head
        varies = self.active_genes(probe[None])[0] & (self.cardinalities > 1)
        varies[: len(head)] = False
        sizes = tuple(int(size) for size in self.cardinalities[varies])
        rows = np.tile(probe, (math.prod(sizes), 1))
        if sizes:
            rows[:, varies] = np.stack(np.unravel_index(range(len(rows)), sizes), 1)
        return rows

    @functools.cached_property
    def size(self) -> Count:
        """Number of members: exact without rules or when small, else estimated."""
        members = self.members_by_depth
        total = sum(members)
        if not self.rules:
            return Count(total, exact=True)
        if total <= MAX_COUNTED:
            return Count(len(self.enumerate()), exact=True)
        rng = np.random.default_rng(0)
        # Members are few at small depths: depths are drawn as often as they have some.
        weights = np.asarray([count / total for count in members])
        depths = rng.choice(len(members), SAMPLES_FOR_SIZE, p=weights / weights.sum())
        valid = int(self.valid(variation.draw(self, len(depths), rng, depths)).sum())
        return Count(max(total * valid // len(depths), 1), exact=False)

    @functools.cached_property
    def axes(self) -> Mapping[str, tuple[Value, ...]]:
        """The values of each choice, and those of ``depth`` where it is one."""
        depth = {"depth": self.depth.values} if self.depth else {}
        return {choice.name: choice.values for choice in self.choices} | depth

    def restrict(self, **values: tuple[Value, ...]) -> "Space":
        """Returns a smaller space, for example one phase of training.

        Genotypes move between the two by ``decode`` and ``encode``, or to this one by
        :meth:`lift`; each depth runs the same layers in both.

        Args:
            **values: For each named choice (or ``depth``) the values that stay open.

        Raises:
            ValueError: If a name or value is not of this space, if nothing stays open,
                or if a rule excludes the new smallest or largest member.
        """
        depth = self.depth
        if "depth" in values:
            if depth is None:
                raise ValueError("the depth of this space is fixed, not a choice")
            depth = depth.restrict(values.pop("depth"))
        if unknown := set(values) - set(self.slices):
            raise ValueError(
                f"no choice {sorted(unknown)}; there are {list(self.slices)}"
            )
        choices = tuple(
            dataclasses.replace(c, values=c.keep(values.get(c.name, c.values)))
            for c in self.choices
        )
        return dataclasses.replace(self, choices=choices, depth=depth)

    def lift(self, part: "Space", genotypes: Genotypes) -> Genotypes:
        """Returns members of a restricted space as members of this one.

        It is what ``decode`` there and ``encode`` here give, for all rows at once.

        Args:
            part: What :meth:`restrict` made of this space.
            genotypes: Members of it.

        Raises:
            ValueError: If the part has a value that this space does not have.
        """
        lifted = np.zeros((len(genotypes), self.genes), np.int32)
        lifted[:, : self.depth_genes] = genotypes[:, : part.depth_genes]
        if self.depth is not None and part.depth is not None and not self.free:
            positions = [self.depth.values.index(count) for count in part.depth.values]
            lifted[:, 0] = np.asarray(positions)[genotypes[:, 0]]
        for choice in part.choices:
            own = self.choice(choice.name)
            positions = np.asarray([own.index(value) for value in choice.values])
            where = part.slices[choice.name]
            lifted[:, self.slices[choice.name]] = positions[genotypes[:, where]]
        return self.canonical(lifted)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that change when the space does."""
        encoded = {
            "choices": [dataclasses.asdict(choice) for choice in self.choices],
            "layers": self.layers,
            "depth": None if self.depth is None else dataclasses.asdict(self.depth),
            "rules": [rule.description for rule in self.rules],
        }
        return digest(encoded)[:16]
