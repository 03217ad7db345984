"""Where an attack is fitted: its device, who is told, what a kill leaves, and others' fits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from adversary.contract.threat import ThreatModel
from splitlab.contracts.estimate import Estimate
from splitlab.data import ImageSet
from splitlab.errors import SplitLabError
from splitlab.randomness import generator
from splitlab.storage import canonical_json, sha256
from splitlab.training import (
    History,
    Progress,
    Silent,
    State,
    Step,
    TensorSource,
    choose_device,
    fit,
)

Estimator = Callable[..., Estimate]
"""Called with what an attack `sees`, one argument for each, in that order."""


class Fittable(Protocol):
    """What another attack needs of an attack."""

    name: Any

    def fit(self, threat: ThreatModel, rng: torch.Generator, work: Workplace) -> Estimator: ...

    def model_dump(self, *, mode: str) -> dict[str, Any]: ...


@dataclass
class Fits:
    """Fits that attacks under one grant share, each made once: key -> (estimator, seconds)."""

    kept: dict[str, tuple[Estimator, float]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Workplace:
    """
    Args:
        device: "auto", "cpu" or "cuda".
        progress: who is told.
        checkpoint: file in which a fit keeps what it has learned so far; None to keep nothing.
        grant: the threat model, where other attacks may be fitted under it.
        seed: of those fits; each has a stream of its own, so that nobody's draws are disturbed.
        fits: what was fitted before.
    """

    device: str = "cpu"
    progress: Progress = field(default_factory=Silent)
    checkpoint: Path | None = None
    grant: ThreatModel | None = None
    seed: int = 0
    fits: Fits = field(default_factory=Fits)
    _counted: dict[str, float] = field(default_factory=dict)

    @property
    def place(self) -> torch.device:
        """Where it computes; what "auto" means is decided here."""
        return choose_device(self.device)

    def beside(self, mark: str) -> Workplace:
        """The same with a checkpoint of its own, for one of several trainings."""
        own = self.checkpoint and self.checkpoint.with_stem(f"{self.checkpoint.stem}-{mark}")
        return replace(self, checkpoint=own)

    def fit(self, step: Step, state: State, data: ImageSet | TensorSource, **how: Any) -> History:
        """`splitlab.training.fit` on this device, told and kept as this workplace says."""
        return fit(
            step,
            state,
            data,
            device=self.place,
            checkpoint=self.checkpoint,
            progress=self.progress,
            **how,
        )

    def fitted(self, attack: Fittable) -> Estimator:
        """Another attack's fit under the same grant, made once for all that ask for it.

        Raises:
            MissingKnowledge: that attack needs what is not granted.
            SplitLabError: no grant is at hand; an attack was fitted without `run_attack`.
        """
        if self.grant is None:
            raise SplitLabError(
                f"a fit of {attack.name!r} is wanted and no grant is at hand; use run_attack, or "
                "give the Workplace a grant"
            )
        told = [attack.name, attack.model_dump(mode="json"), self.seed, self.grant.fingerprint()]
        key = sha256(canonical_json(told))[:12]
        if key in self.fits.kept:
            estimator, seconds = self.fits.kept[key]
            self._counted.setdefault(key, seconds)
            return estimator
        place = self.beside(f"{attack.name}-{key}")
        started = time.perf_counter()
        estimator = attack.fit(self.grant, generator(self.seed, "fitted", key), place)
        self.fits.kept[key] = estimator, time.perf_counter() - started
        self._counted[key] = 0.0  # it is within what the one that asked has taken
        return estimator

    @property
    def borrowed_seconds(self) -> float:
        """What the fits took that somebody had made before."""
        return sum(self._counted.values())


ALONE = Workplace()
"""On the CPU, silent, keeping nothing."""
