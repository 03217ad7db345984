"""What an engine is: it loads the bodies, runs a batch, and states its numerics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from splitlab.errors import SplitLabError

Outputs = tuple[list[Tensor], tuple[int, ...]]
"""Of every body [B, *output_shape], FP32 on the CPU; and the microseconds of each, where they run
one by one."""
Runner = Callable[[Tensor], Outputs]
"""A feature, FP32 [B, *shape] on the CPU, through all bodies."""


@dataclass(frozen=True)
class Arranged:
    """A runner that says how it goes about its work."""

    run: Runner
    how: str

    def __call__(self, feature: Tensor) -> Outputs:
        return self.run(feature)


class Unfit(SplitLabError):
    """An engine that cannot run these bodies here, and why."""


@dataclass(frozen=True)
class EngineTask:
    """What is to be run, and where.

    Args:
        bodies: modules in eval mode, on `place`.
        example: FP32 [B, *shape] on the CPU, as many rows as a request usually has.
        threads: of one forward pass.
        bfloat16: whether products may be taken in BF16.
        together: rows of several requests that may go at once.
    """

    bodies: Sequence[nn.Module]
    example: Tensor
    place: torch.device
    threads: int
    bfloat16: bool = False
    together: int = 1


@dataclass(frozen=True)
class EngineKind:
    """One way to run the bodies.

    Args:
        make: builds it; raises `Unfit` where it cannot.
        devices: "cpu", "cuda".
        tolerance: largest error in FP32 against the plain loop, max|delta| / max|y|.
        half: whether it can take products in BF16.
        missing: what has to be installed for it, "" where nothing has.
    """

    make: Callable[[EngineTask], Runner]
    devices: tuple[str, ...] = ("cpu",)
    tolerance: float = 1e-4
    half: bool = False
    missing: Callable[[], str] = str
