"""The trainings of a comparison as units of work that are kept when they are done."""

import dataclasses
import functools
import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console

from experiments.benchmarks.execution_rounds import against, median
from experiments.benchmarks.policies_contenders import Contender, Member
from experiments.benchmarks.policies_training import (
    Recipe,
    Scores,
    Setting,
    Trainer,
    step_times,
)
from nas import Phase
from nas.config import encode
from nas.errors import UsageError
from nas.forecast import Work, mean_work
from nas.progress import progress
from nas.rundir import append_json_line, read_json_lines, write_bytes
from search.space import Genotypes
from supernets.policies.largest_only import LargestOnly

Budget = Literal["passes", "time"]

BUDGETS: dict[Budget, str] = {"passes": "Equal passes", "time": "Equal time"}
"""What all policies may spend alike, in words."""

ROUNDS = 5
"""Rounds in which steps are timed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unit:
    """One training.

    Attributes:
        kind: A member of the panel on its own, or the supernet by a policy.
        name: Of the member or the policy.
        seed: Of initial weights, data and draws.
        steps: Updates.
        rate: Peak learning rate.
    """

    kind: Literal["twin", "policy"]
    name: str
    seed: int
    steps: int
    rate: float

    def __str__(self) -> str:
        words = f"{self.steps} steps at rate {self.rate:g}, seed {self.seed}"
        return f"{'twin, ' if self.kind == 'twin' else ''}{self.name}, {words}"


class Cache:
    """Finished work in a JSON-lines file; each line is there at once or not at all.

    Args:
        path: The file. Its first line says what the work is for.
        about: That.

    Raises:
        UsageError: If the file is of something else.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self.path = path
        lines = read_json_lines(path)
        head = {"about": dict(about)}
        if not lines:
            lines = [head]
        elif lines[0] != json.loads(json.dumps(head)):
            raise UsageError(
                f"{path} holds results of other settings; give another --out, or the "
                f"settings of its first line to go on"
            )
        # A line that a killed run left torn would spoil the next one.
        write_bytes(path, b"".join(json.dumps(e).encode() + b"\n" for e in lines))
        self.found = {json.dumps(entry["key"]): entry["value"] for entry in lines[1:]}

    def get(self, key: Any) -> Any | None:  # noqa: ANN401 - whatever JSON holds
        """Returns what is kept under a key, or ``None``."""
        return self.found.get(json.dumps(key))

    def keep(self, key: Any, value: Any) -> None:  # noqa: ANN401
        """Keeps a value."""
        append_json_line(self.path, {"key": key, "value": value})
        self.found[json.dumps(key)] = value


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """All trainings; those that are kept are not done again.

    With the first seed, every rate is tried by all twins and, with its equal passes, by
    all policies. Whatever else they train has the rate that was best then.

    Attributes:
        setting: What all of them share.
        policies: By name.
        reference: The policy whose passes and time all may spend.
        panel: By name.
        steps: Of twins and of the reference.
        seeds: At least one.
        rates: Peak learning rates to choose from.
        folder: Where finished work is kept.
        console: Where progress is shown.
    """

    setting: Setting
    policies: Mapping[str, Contender]
    reference: Contender
    panel: Mapping[str, Member]
    steps: int
    seeds: tuple[int, ...]
    rates: tuple[float, ...]
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
            "data": self.setting.data.digest(),
            "batch": self.setting.batch,
            "windows": self.setting.windows,
            "steps": self.steps,
            "reference": encode(self.reference.recipe.phases),
            "panel": {name: encode(member) for name, member in self.panel.items()},
        }
        return Cache(self.folder / "units.jsonl", about)

    @functools.cached_property
    def supernet(self) -> Trainer:
        """Trains the supernet."""
        return Trainer(self.setting)

    @functools.cached_property
    def alone(self) -> dict[str, Trainer]:
        """Trains each member of the panel on its own."""
        return {
            name: Trainer(dataclasses.replace(self.setting, model=model))
            for name, member in self.panel.items()
            for model in [member.alone(self.setting.model)]
        }

    @functools.cached_property
    def genotypes(self) -> Genotypes:
        """The panel, as members of the supernet."""
        space = self.supernet.space
        return np.stack([member.genotype(space) for member in self.panel.values()])

    def run(self) -> None:
        """Does what is missing."""
        for seed in self.seeds:
            for name in self.panel:
                self.twin(name, seed)
            for name in self.policies:
                for budget in BUDGETS:
                    self.policy(name, budget, seed)

    def twin(self, name: str, seed: int) -> Scores:
        """Returns the losses of a member of the panel that was trained alone."""
        rate = self.twin_rate(name)
        unit = Unit(kind="twin", name=name, seed=seed, steps=self.steps, rate=rate)
        return self._done(unit)

    def policy(self, name: str, budget: Budget, seed: int) -> Scores:
        """Returns the losses of the panel in a supernet, in the order of the panel."""
        unit = Unit(
            kind="policy",
            name=name,
            seed=seed,
            steps=self.steps_of(name, budget),
            rate=self.policy_rate(name),
        )
        return self._done(unit)

    def twin_rate(self, name: str) -> float:
        """Returns the rate that is best for a twin, on the search split."""

        def loss(rate: float) -> float:
            first, steps = self.seeds[0], self.steps
            unit = Unit(kind="twin", name=name, seed=first, steps=steps, rate=rate)
            return self._done(unit)["search"][0]

        return min(self.rates, key=loss)

    def policy_rate(self, name: str) -> float:
        """Returns the rate that is best for a policy: for the members that it trains.

        By their mean loss on the search split.
        """
        trained = [n in self.policies[name].trained for n in self.panel]

        def loss(rate: float) -> float:
            unit = Unit(
                kind="policy",
                name=name,
                seed=self.seeds[0],
                steps=self.steps_of(name, "passes"),
                rate=rate,
            )
            return float(np.mean(np.asarray(self._done(unit)["search"])[trained]))

        return min(self.rates, key=loss)

    def steps_of(self, name: str, budget: Budget) -> int:
        """Returns how many steps a policy may take."""
        if budget == "passes":
            passes = self.work[self.reference.title].passes
            return max(round(self.steps * passes / self.work[name].passes), 1)
        return max(round(self.steps / self.step_time(name)["ratio"]), 1)

    @functools.cached_property
    def work(self) -> dict[str, Work]:
        """The mean work of a step, by policy; of the reference under its title."""
        all_of_them = {**self.policies, self.reference.title: self.reference}
        return {
            name: mean_work(
                self.supernet.plan(contender.recipe, steps=self.steps, seed=0)
            )
            for name, contender in all_of_them.items()
        }

    def step_time(self, name: str) -> dict[str, Any]:
        """Returns the processor milliseconds of a step, and over the reference's.

        ``ratio`` is the median over rounds of the ratio within a round.
        """
        recipe = self.policies[name].recipe
        key = {"step time of": name, "recipe": digest(recipe)}
        found = self.cache.get(key)
        if found is None:
            sides = {"reference": self.reference.recipe, "policy": recipe}
            if recipe == self.reference.recipe:
                # It takes as long as itself, whatever two measurements may say.
                del sides["policy"]
            self.console.print(f"timing steps of {name}")
            times = step_times(self.supernet, sides, steps=self.steps, rounds=ROUNDS)
            reference = times["reference"]
            found = against(times.get("policy", reference), reference)
            found["reference_ms"] = median(reference)
            self.cache.keep(key, found)
        return found

    def _done(self, unit: Unit) -> Scores:
        """Returns the losses of a unit, from the cache or by training it."""
        trainer, recipe, genotypes = self._job(unit)
        key = {**dataclasses.asdict(unit), "recipe": digest(recipe)}
        found = self.cache.get(key)
        if found is None:
            start = time.monotonic()
            with progress(self.console, str(unit), unit.steps, "steps") as update:
                params = trainer.train(
                    recipe, steps=unit.steps, seed=unit.seed, tell=update
                )
            found = trainer.losses(params, genotypes)
            self.cache.keep(key, found)
            losses = ", ".join(f"{loss:.3f}" for loss in found["test"])
            seconds = time.monotonic() - start
            self.console.print(f"{unit}: {losses} nats per byte, {seconds:.0f} s")
        return found

    def _job(self, unit: Unit) -> tuple[Trainer, Recipe, Genotypes]:
        """Returns who trains a unit, how, and what it is then judged by."""
        if unit.kind == "policy":
            recipe = self.policies[unit.name].recipe
            return self.supernet, recipe.at_rate(unit.rate), self.genotypes
        trainer = self.alone[unit.name]
        recipe = Recipe(
            phases=(Phase(policy=LargestOnly()),),
            optimizer=self.reference.recipe.optimizer,
        )
        return trainer, recipe.at_rate(unit.rate), trainer.space.largest[None]


def digest(recipe: Recipe) -> str:
    """Returns twelve hexadecimal digits that change when a recipe does."""
    encoded = json.dumps(encode(recipe), sort_keys=True)
    return hashlib.sha256(encoded.encode()).hexdigest()[:12]
