"""PyTorch's side of the comparison: an eager decoder on slices of shared weights.

`against_pytorch` starts it, in an environment of its own, with the folder in which
`jax_peer` left the exercise. Slicing is how whittle (Sukthanker et al. 2024) and
AutoFormer (Chen et al. 2021) run the subnets of a supernet.
"""

import functools
import json
import math
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from experiments.benchmarks.peer import Case, Program, Values, serve

BASE = 10_000.0
EPSILON = 1e-6

Subnet = Mapping[str, Any]


class Network:
    """A decoder whose weights lie as ``torch.nn.Linear`` keeps them.

    Args:
        arrays: Weights by name, as our side names and shapes them.
        head_dim: Size of a head.
        tokens: Sequence length.
        dtype: What it computes in; the weights themselves are float32.
    """

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        *,
        head_dim: int,
        tokens: int,
        dtype: torch.dtype,
    ) -> None:
        self.head_dim = head_dim
        self.dtype = dtype
        self._shapes = {name: array.shape for name, array in arrays.items()}
        self.weights = {
            name: torch.nn.Parameter(torch.from_numpy(_stored(name, array)))
            for name, array in arrays.items()
        }
        exponents = torch.arange(0, head_dim, 2) / head_dim
        angles = torch.arange(tokens)[:, None] * BASE**-exponents
        self._cos, self._sin = angles.cos().to(dtype), angles.sin().to(dtype)

    def gradients(self) -> Values:
        """Returns the gradients, shaped as our side shapes them."""
        found = {}
        for name, weight in self.weights.items():
            shape = self._shapes[name]
            if weight.grad is None:
                found[name] = np.zeros(shape, np.float32)
            else:
                found[name] = _turned(name, weight.grad.numpy()).reshape(shape)
        return found

    def __call__(self, tokens: torch.Tensor, subnet: Subnet) -> torch.Tensor:
        """Returns float32 logits of the subnet."""
        width = subnet["width"]
        table = self._cut(
            "embedding.table", len(self.weights["embedding.table"]), width
        )
        x = F.embedding(tokens, table)
        layers = zip(subnet["layers"], subnet["heads"], subnet["ffn"], strict=True)
        for layer, heads, hidden in layers:
            name = f"blocks.{layer}"
            normalised = self._normalise(f"{name}.attention_norm", x)
            x = x + self._attention(f"{name}.attention", normalised, heads)
            normalised = self._normalise(f"{name}.feed_forward_norm", x)
            up = self._cut(f"{name}.feed_forward.up", hidden, width)
            down = self._cut(f"{name}.feed_forward.down", width, hidden)
            units = F.gelu(F.linear(normalised, up), approximate="tanh")
            x = x + F.linear(units, down)
        return F.linear(self._normalise("norm", x), table).float()

    def _attention(self, name: str, x: torch.Tensor, heads: int) -> torch.Tensor:
        batch, tokens, width = x.shape
        merged = heads * self.head_dim

        def project(part: str) -> torch.Tensor:
            flat = F.linear(x, self._cut(f"{name}.{part}", merged, width))
            return flat.view(batch, tokens, heads, self.head_dim).transpose(1, 2)

        query, key = self._rotate(project("query")), self._rotate(project("key"))
        mixed = F.scaled_dot_product_attention(
            query, key, project("value"), is_causal=True
        )
        flat = mixed.transpose(1, 2).reshape(batch, tokens, merged)
        return F.linear(flat, self._cut(f"{name}.output", width, merged))

    def _rotate(self, x: torch.Tensor) -> torch.Tensor:
        first, second = x.chunk(2, -1)
        turned = (
            first * self._cos - second * self._sin,
            second * self._cos + first * self._sin,
        )
        return torch.cat(turned, -1)

    def _normalise(self, name: str, x: torch.Tensor) -> torch.Tensor:
        width = x.shape[-1]
        scale = self.weights[f"{name}.scale"][:width].to(self.dtype)
        return F.rms_norm(x, (width,), scale, EPSILON)

    def _cut(self, name: str, rows: int, columns: int) -> torch.Tensor:
        weight = self.weights[name]
        # A slice of everything would still cost a copy of the gradient.
        if weight.shape != (rows, columns):
            weight = weight[:rows, :columns]
        return weight.to(self.dtype)


class Trainer:
    """Sandwich steps that accumulate gradients, then one step of AdamW.

    Args:
        network: The network to train.
        exercise: Subnets and hyper-parameters.
    """

    def __init__(self, network: Network, exercise: Mapping[str, Any]) -> None:
        self.network = network
        self._subnets = exercise["subnets"]
        self._share = exercise["distillation"]
        self._parameters = list(network.weights.values())
        settings = exercise["optimizer"]
        self._clip = settings["clip"]
        self._optimizer = torch.optim.AdamW(
            self._parameters,
            lr=settings["learning_rate"],
            betas=(0.9, settings["beta2"]),
            weight_decay=settings["weight_decay"],
            fused=True,
        )
        steps = exercise["steps"]
        rate = functools.partial(
            _rate, round(settings["schedule"]["warmup"] * steps), steps
        )
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, rate)

    def step(
        self, inputs: torch.Tensor, targets: torch.Tensor, pair: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Trains on the largest, the smallest and a pair; returns losses and norm."""
        students = [*self._subnets["smallest"], *self._subnets[pair]]
        subnets = 1 + len(students)
        self._optimizer.zero_grad()
        logits = self.network(inputs, self._subnets["largest"][0])
        loss = _cross_entropy(logits, targets)
        (loss / subnets).backward()
        losses = [loss.detach()]
        teacher = logits.detach().softmax(-1)
        for subnet in students:
            scores = self.network(inputs, subnet).log_softmax(-1)
            data = F.nll_loss(scores.flatten(0, 1), targets.flatten())
            soft = -(teacher * scores).sum(-1).mean()
            mixed = (1 - self._share) * data + self._share * soft
            (mixed / subnets).backward()
            losses.append(data.detach())
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._clip)
        self._optimizer.step()
        self._schedule.step()
        return torch.stack(losses), norm


class PytorchSide:
    """Builds the programs of PyTorch's side.

    Args:
        folder: Holds the exercise.
    """

    def __init__(self, folder: Path) -> None:
        self._exercise = json.loads((folder / "exercise.json").read_text())
        with np.load(folder / "exercise.npz") as stored:
            arrays = dict(stored)
        inputs, targets = arrays.pop("inputs"), arrays.pop("targets")
        self._arrays = arrays
        self._inputs = torch.from_numpy(inputs).long()
        self._targets = torch.from_numpy(targets).long()
        self._networks: dict[str, Network] = {}
        self._trainers: dict[str, Trainer] = {}

    def build(self, case: Case) -> Program[Any]:
        """Readies a case."""
        builders = {
            "forward": self._forward,
            "training": self._training,
            "sandwich": self._sandwich,
        }
        return builders[case.kind](case)

    def _forward(self, case: Case) -> Program[torch.Tensor]:
        network, subnet = self._shared(case), self._subnet(case)

        def run() -> torch.Tensor:
            with torch.inference_mode():
                return network(self._inputs, subnet)

        return Program(run, lambda logits: {"logits": logits.numpy()})

    def _training(self, case: Case) -> Program[torch.Tensor]:
        network, subnet = self._shared(case), self._subnet(case)

        def run() -> torch.Tensor:
            for weight in network.weights.values():
                weight.grad = None
            loss = _cross_entropy(network(self._inputs, subnet), self._targets)
            loss.backward()
            return loss.detach()

        return Program(
            run, lambda loss: {"loss": loss.numpy()} | dict(network.gradients())
        )

    def _sandwich(self, case: Case) -> Program[tuple[torch.Tensor, torch.Tensor]]:
        if case.precision not in self._trainers:
            network = self._network(case)
            self._trainers[case.precision] = Trainer(network, self._exercise)
        step = self._trainers[case.precision].step
        return Program(
            lambda: step(self._inputs, self._targets, case.subnet),
            lambda pair: {"losses": pair[0].numpy(), "gradient_norm": pair[1].numpy()},
        )

    def _shared(self, case: Case) -> Network:
        """Returns the network of all cases that do not change it."""
        if case.precision not in self._networks:
            self._networks[case.precision] = self._network(case)
        return self._networks[case.precision]

    def _network(self, case: Case) -> Network:
        return Network(
            self._arrays,
            head_dim=self._exercise["head_dim"],
            tokens=self._inputs.shape[1],
            dtype=getattr(torch, case.precision),
        )

    def _subnet(self, case: Case) -> Subnet:
        (subnet,) = self._exercise["subnets"][case.subnet]
        return subnet


def _cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def _rate(warmup: int, steps: int, step: int) -> float:
    """Returns the share of the peak rate: a linear rise, then a cosine to a tenth."""
    if step < warmup:
        return step / warmup
    progress = min(1.0, (step - warmup) / (steps - warmup))
    return 0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2


def _stored(name: str, array: np.ndarray) -> np.ndarray:
    """Brings a weight to two dimensions, outputs first."""
    if array.ndim == 3:
        last = array.shape[-1]
        array = array.reshape(
            (-1, last) if name.endswith("output") else (len(array), -1)
        )
    return np.array(_turned(name, array), order="C")


def _turned(name: str, array: np.ndarray) -> np.ndarray:
    return array if name.endswith(("table", "scale")) else array.T


def about() -> dict[str, object]:
    """Returns what this side runs on."""
    return {
        "python": platform.python_version(),
        "packages": {"torch": torch.__version__, "numpy": np.__version__},
        "threads": torch.get_num_threads(),
    }


def main(folder: Path) -> None:
    """Loads the exercise, then obeys."""
    serve(about(), PytorchSide(folder).build)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
