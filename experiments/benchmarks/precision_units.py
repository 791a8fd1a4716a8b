"""The trainings of the precision benchmark, kept when they are done."""

import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from flax import nnx
from rich.console import Console

from experiments.benchmarks.policies_units import Cache
from experiments.benchmarks.precision_assignments import (
    PARTS,
    Assignments,
    bits_of,
    finalists,
    rank_correlations,
    told,
)
from experiments.benchmarks.precision_qwix import rounded_by_qwix
from experiments.benchmarks.precision_training import Alone, Job, Setting, Trainer
from kernels.quantization.scheme import FLOAT_WIDTH, MOST_WIDTH
from nas.config import encode
from supernets.losses.losses import Losses
from supernets.policies.matformer import MatFormer
from supernets.policies.sandwich import Sandwich
from supernets.quantization.layer_scores import LayerScores, score_layers
from supernets.weights import Params, set_weights

ALL_WIDTHS = MatFormer(axis="weight_bits", granularities="all")
"""Each step trains all layers in each of the bits."""

MIXED = Sandwich(random=3, sampling="uniform", teacher="data")
"""Each step trains the most and the fewest bits and three random assignments of them:
as many passes as `ALL_WIDTHS` of five widths."""

Found = dict[str, Any]

Network = Literal["mixed", "elastic"]
"""By how it was trained: with bits that differ between layers, or not."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """All trainings; those that are kept are not done again.

    Losses are those of the test split, in the unit of the data, by bits.

    Attributes:
        setting: What all trainings share.
        steps: Of either half of a training.
        seeds: Of weights, data and draws; the first one's network is studied further.
        policy: How one network learns all bits.
        mixed: How one learns bits that differ between layers.
        losses: What its subnets learn from.
        qwix: Whether Qwix rounds too.
        folder: Where finished work is kept.
        console: Where progress is told.
    """

    setting: Setting
    steps: int
    seeds: tuple[int, ...]
    policy: MatFormer
    mixed: Sandwich
    losses: Losses
    qwix: bool
    folder: Path
    console: Console

    @functools.cached_property
    def cache(self) -> Cache:
        """What is finished, of this and of interrupted runs.

        Raises:
            UsageError: If the folder holds results of other settings.
        """
        about = {
            "model": encode(self.setting.model),
            "bits": list(self.setting.bits),
            "data": self.setting.data.digest(),
            "batch": self.setting.batch,
            "windows": self.setting.windows,
            "final": self.setting.final,
            "optimizer": encode(self.setting.optimizer),
            "steps": self.steps,
            "policy": encode(self.policy),
            "losses": encode(self.losses),
        }
        return Cache(self.folder / "units.jsonl", about)

    @functools.cached_property
    def trainer(self) -> Trainer:
        """Trains."""
        return Trainer(self.setting, self.steps)

    def run(self) -> None:
        """Does what is missing."""
        for name in ("mixed", "elastic"):
            self.evaluated(name)
        for seed in self.seeds:
            self.whole(seed)
            if self.qwix:
                self.by_qwix(seed)
            for bits in self.setting.bits:
                self.alone(bits, seed)
            self.elastic(seed)
        for name in ("joint", "sliced"):
            self.nested(name)

    def whole(self, seed: int) -> Found:
        """Returns the loss in 16 bits, and after rounding without further training."""

        def find() -> Found:
            params = self._whole(seed)
            rounded = self.trainer.rounded(params, seed)
            return self._of(params, (FLOAT_WIDTH,)) | self._of(rounded)

        return self._kept({"whole": seed}, find)

    def by_qwix(self, seed: int) -> Found:
        """Returns the losses after Qwix has rounded the network of 16 bits."""

        def find() -> Found:
            network = self.trainer.network(self.setting.precise(whole=True))
            nnx.update(network, self._whole(seed))
            found: Found = {}
            for bits, weights in rounded_by_qwix(network, self.setting.bits).items():
                set_weights(network, weights)
                params = nnx.state(network, nnx.Param)
                found[str(bits)] = self._of(params, (FLOAT_WIDTH,))[str(FLOAT_WIDTH)]
            return found

        return self._kept({"qwix": seed}, find)

    def alone(self, bits: int, seed: int) -> Found:
        """Returns the loss of a network that learns one bit-width alone."""

        def find() -> Found:
            return self._of(self._finished(Job(policy=Alone(bits=bits)), seed), (bits,))

        return self._kept({"alone": bits, "seed": seed}, find)

    def elastic(self, seed: int) -> Found:
        """Returns the losses of a network that learns all bits."""
        return self._kept({"elastic": seed}, lambda: self._of(self._elastic(seed)))

    def nested(self, name: Literal["joint", "sliced"]) -> Found:
        """Returns the losses of the leading bits of a code of 8, with the first seed.

        Args:
            name: ``joint`` if all widths are trained, equally, and ``sliced`` if only
                8 bits are.
        """
        seed = self.seeds[0]
        most = Alone(bits=MOST_WIDTH)
        policy = ALL_WIDTHS if name == "joint" else most

        def find() -> Found:
            params = self._finished(Job(policy=policy, mechanism="nested"), seed)
            return self._of(params, nested=True)

        return self._kept({"nested": name, "seed": seed}, find)

    def assignments(self, name: Network) -> Found:
        """Returns what is told of all assignments of bits, with the first seed.

        Args:
            name: ``elastic`` of the network whose layers always had the same bits when
                it was trained, ``mixed`` of one that was trained with random ones.
        """
        arrays = {key: np.asarray(value) for key, value in self.evaluated(name).items()}
        scores = LayerScores(arrays.pop("modification"), arrays.pop("outliers"))
        found = Assignments(**arrays)
        space = self.setting.precise().space()
        return told(found, scores, rank_correlations(space, space.enumerate(), found))

    def evaluated(self, name: Network) -> Found:
        """Returns what is known of every assignment of bits, and of every layer.

        Args:
            name: As `assignments` takes it.
        """
        key = {"assignments": self.seeds[0]}
        if name == "mixed":
            key |= {"policy": encode(self.mixed)}
        return self._kept(key, lambda: self._evaluated(name))

    def _evaluated(self, name: Network) -> Found:
        seed, trainer, unit = self.seeds[0], self.trainer, self.setting.data
        model = self.setting.precise()
        params = self._elastic(seed) if name == "elastic" else self._mixed(seed)
        space = model.space()
        genotypes = space.enumerate()
        costs = model.costs(genotypes, batch=1, example=unit.example)
        search, test = (
            np.asarray(trainer.losses(params, genotypes, split)) / unit.nats_per_unit
            for split in ("search", "test")
        )
        bits, sizes = bits_of(space, genotypes), costs["size_mb"]
        rows = finalists(bits, sizes, search)
        parts = trainer.losses_of_parts(
            params, genotypes[rows], "search", model, self.setting.final, PARTS
        )
        inputs = trainer.calibration_inputs(seed)
        scores = score_layers(trainer.network(model), space, params, inputs)
        found = {
            "bits": bits,
            "sizes": sizes,
            "search": search,
            "test": test,
            "finalists": rows,
            "parts": parts / unit.nats_per_unit,
            "modification": scores.modification,
            "outliers": scores.outliers,
        }
        return {field: values.tolist() for field, values in found.items()}

    @functools.cache  # noqa: B019 - a study lives as long as the process
    def _start(self, seed: int) -> Params:
        return self.trainer.whole(seed)

    @functools.cache  # noqa: B019
    def _whole(self, seed: int) -> Params:
        job = Job(policy=Alone(bits=FLOAT_WIDTH), whole=True)
        return self._finished(job, seed)

    @functools.cache  # noqa: B019
    def _elastic(self, seed: int) -> Params:
        return self._finished(Job(policy=self.policy, losses=self.losses), seed)

    def _mixed(self, seed: int) -> Params:
        return self._finished(Job(policy=self.mixed, losses=self.losses), seed)

    def _finished(self, job: Job, seed: int) -> Params:
        return self.trainer.finished(job, self._start(seed), seed)

    def _of(
        self, params: Params, bits: tuple[int, ...] = (), *, nested: bool = False
    ) -> Found:
        """Returns the loss of each bit-width, of all unless some are given."""
        bits = bits or self.setting.bits
        mechanism = "nested" if nested else "learned"
        losses = self.trainer.of_widths(params, bits, "test", mechanism=mechanism)
        unit = self.setting.data.nats_per_unit
        return {str(b): loss / unit for b, loss in zip(bits, losses, strict=True)}

    def _kept(self, key: Found, find: Callable[[], Found]) -> Found:
        found = self.cache.get(key)
        if found is None:
            start = time.monotonic()
            found = find()
            self.cache.keep(key, found)
            words = ", ".join(
                f"{name} {value}" for name, value in key.items() if name != "policy"
            )
            self.console.print(f"{words}: {time.monotonic() - start:.0f} s")
        return found
