"""Small halves with all that server and client need of one, without a deployment on disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from splitlab.contracts import FeatureSpec, InputSpec
from splitlab.randomness import Draw, Secret

FEATURE = (4, 6, 6)
OUTPUT = (5,)
CLASSES = ("a", "b", "c")


def _seeded(seed: int, make: type[nn.Module], *arguments: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make(*arguments).double()


def _alike(module: nn.Module, x: Tensor) -> Tensor:
    """Bits that do not depend on how many rows go together, which FP32's do on some processors."""
    return module(x.double()).float()


class Body(nn.Module):
    """Flatten and multiply; rows do not touch each other."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.linear = _seeded(seed, nn.Linear, 4 * 6 * 6, OUTPUT[0])

    def forward(self, z: Tensor) -> Tensor:
        return _alike(self.linear, z.flatten(1))


@dataclass
class Server:
    """A server half of `len(body_ids)` bodies."""

    body_ids: list[int] = field(default_factory=lambda: [0])
    wire: str = "FP32"
    max_rows: int = 8
    model_name: str = "tiny"
    digest: str = "d" * 64
    feature: FeatureSpec = field(default_factory=lambda: FeatureSpec(shape=FEATURE))

    def __post_init__(self) -> None:
        self.outputs = [OUTPUT for _ in self.body_ids]
        self.bodies = nn.ModuleList([Body(i).eval().requires_grad_(False) for i in self.body_ids])


@dataclass
class Client:
    """A client half whose head is a convolution and whose noise is keyed as protectors' must be."""

    total: int = 1
    chosen: tuple[int, ...] = (0,)
    noise: float = 0.0
    wire: str = "FP32"
    max_rows: int = 8
    model_name: str = "tiny"
    digest: str = "d" * 64
    feature: FeatureSpec = field(default_factory=lambda: FeatureSpec(shape=FEATURE))
    input: InputSpec = field(default_factory=lambda: InputSpec(size=12))
    classes: tuple[str, ...] = CLASSES
    secret: Secret = field(default_factory=lambda: Secret.new(1))

    def __post_init__(self) -> None:
        self.outputs = [OUTPUT for _ in range(self.total)]
        self._head = _seeded(1, nn.Conv2d, 3, 4, 2, 2).requires_grad_(False)
        self._tail = _seeded(2, nn.Linear, OUTPUT[0] * len(self.chosen), len(CLASSES))
        self._tail.requires_grad_(False)

    def head(self, images: Tensor) -> Tensor:
        return _alike(self._head, images)

    def protect(self, feature: Tensor, draw: Draw) -> Tensor:
        return feature + self.noise * draw.normal(feature, "test") if self.noise else feature

    def select(self, outputs: list[Tensor], draw: Draw) -> Tensor:
        del draw
        return torch.cat([outputs[i] for i in self.chosen], dim=1)

    def tail(self, selected: Tensor) -> Tensor:
        return _alike(self._tail, selected)

    def whole(self, images: Tensor, bodies: nn.ModuleList) -> Tensor:
        """Logits without wire and noise."""
        z = self.head(images)
        return self.tail(torch.cat([bodies[i](z) for i in self.chosen], dim=1))


def images(rows: int = 5, seed: int = 0) -> Tensor:
    return torch.rand(rows, 3, 12, 12, generator=torch.Generator().manual_seed(seed))


def wait_until(condition: Callable[[], bool]) -> None:
    """Until it is true. What is slow is waited for; only what hangs ends, after 30,000 looks, which
    take five minutes and more.
    """
    pause = threading.Event()
    for _ in range(30_000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it did not come true")
