"""The worlds of `adversary.contract.testing`, and what tests here do in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from adversary.contract.attack import Outcome, run_attack
from adversary.contract.testing.worlds import (
    AUX,
    INPUT,
    SECRET,
    SIZE,
    VICTIMS,
    Orthogonal,
    capture,
    images,
    threat,
    tiny_head,
)
from adversary.contract.threat import ThreatModel
from adversary.inversion.dci.attack import DCI
from splitlab.contracts import Features
from splitlab.metrics import psnr
from splitlab.randomness import generator

__all__ = [
    "AUX",
    "INPUT",
    "SECRET",
    "SIZE",
    "VICTIMS",
    "Killed",
    "Orthogonal",
    "SmallDCI",
    "Watch",
    "capture",
    "images",
    "outcome",
    "quality",
    "threat",
    "tiny_head",
]


def outcome(attack: Any, model: ThreatModel, feature: Tensor, seed: int = 0) -> Outcome:
    ids = tuple(f"request/{row}" for row in range(len(feature)))
    return run_attack(attack, model, Features(ids, feature), generator(seed, "attack"))


class Killed(Exception):
    """Stands for a kill."""


class Watch:
    """Progress that keeps what was begun, and can end the run.

    Args:
        look: run with the name of each piece of work as it begins.
        kill_at: the run ends as work of this name begins.
        kill_after: the run ends after so many steps.
    """

    def __init__(
        self,
        look: Callable[[str], None] = lambda _: None,
        *,
        kill_at: str | None = None,
        kill_after: int | None = None,
    ) -> None:
        self.look, self.kill_at, self.left = look, kill_at, kill_after
        self.names: list[str] = []
        self.totals: list[int] = []

    def task(self, name: str, total: int, _done: int = 0) -> Watch:
        if name == self.kill_at:
            raise Killed
        self.names.append(name)
        self.totals.append(total)
        self.look(name)
        return self

    def advance(self, *_: object) -> None:
        if self.left is None:
            return
        self.left -= 1
        if self.left < 0:
            raise Killed

    def close(self) -> None:
        pass


def quality(done: Outcome, pixels: Tensor = VICTIMS) -> float:
    """Mean PSNR in dB."""
    return float(psnr(pixels, done.estimate.values).mean())


class SmallDCI(DCI):
    """DCI in seconds."""

    images: int = 8
    synthesis_steps: int | None = 2
    synthesis_batch: int | None = 8
    epochs: int = 1
    tune_epochs: int = 1
    batch_size: int = 8
