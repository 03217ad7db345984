"""What an attack is, and the one way it is run: checked before and after, timed from outside."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from adversary.threat import ThreatModel
from splitlab.errors import BadInput, SplitLabError
from splitlab.training import Progress


@dataclass(frozen=True, eq=False)
class Observation:
    """What was captured.

    Args:
        ids: "<request id>/<row>" of each feature.
        features: z^ [n, *feature_shape], decoded from the wire.
        outputs: each body's replies [n, *output_shape], where they were captured.
    """

    ids: tuple[str, ...]
    features: Tensor
    outputs: tuple[Tensor, ...] = ()


@dataclass(frozen=True, eq=False)
class Estimate:
    """What an attack answers.

    Args:
        images: [n, 3, S, S] in [0, 1], in the order of the observation.
        doubts: what the attack itself says against its result.
        extra: chosen settings and other facts for the record; JSON values.
    """

    images: Tensor
    doubts: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)


Reconstruct = Callable[[Observation], Estimate]


class Attack(BaseModel, ABC):
    """One method; its hyper-parameters are checked pydantic fields.

    `asks` says, for each knowledge that the attack can be run with, which fields of a grant it is
    given in a sweep: "undefended" where no defence acts, "adaptive" and "unaware" where one does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    source: ClassVar[str]
    observes: ClassVar[str] = "feature"
    estimates: ClassVar[str] = "image"
    asks: ClassVar[Mapping[str, frozenset[str]]]

    @abstractmethod
    def fit(
        self,
        threat: ThreatModel,
        rng: torch.Generator,
        *,
        device: str = "cpu",
        progress: Progress | None = None,
        checkpoint: Path | None = None,
    ) -> Reconstruct:
        """Prepare from knowledge alone; the returned function keeps all state there is.

        Raises:
            MissingKnowledge: a field that the attack cannot do without is not granted.
        """

    @classmethod
    def configured(cls, options: Mapping[str, Any]) -> Self:
        """The attack with these hyper-parameters.

        Raises:
            BadInput: one that it has not, or out of range; the message lists what it has.
        """
        try:
            return cls.model_validate(dict(options))
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            known = ", ".join(cls.model_fields) or "none"
            raise BadInput(
                f"attack {cls.name!r}, {name}={first['input']!r}: {first['msg'].lower()}; "
                f"its settings are: {known}"
            ) from error


@dataclass(frozen=True, eq=False)
class Outcome:
    """An estimate with the ids it belongs to, and what it cost."""

    ids: tuple[str, ...]
    estimate: Estimate
    effort: dict[str, float]


def run_attack(
    attack: Attack,
    threat: ThreatModel,
    observed: Observation | Callable[[], Observation],
    rng: torch.Generator,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Outcome:
    """Fit, then reconstruct; the threat model must come out as it went in.

    Args:
        observed: what was captured, or a function that waits for it while the attack is fitted.

    Raises:
        SplitLabError: the attack changed what it was granted, or answered with images of another
            number, shape or range than [n, 3, S, S] in [0, 1].
    """
    before = threat.fingerprint()
    started = time.perf_counter()
    reconstruct = attack.fit(threat, rng, device=device, progress=progress, checkpoint=checkpoint)
    fitted = time.perf_counter()
    observation = observed() if callable(observed) else observed
    waited = time.perf_counter()
    estimate = reconstruct(observation)
    ended = time.perf_counter()
    if threat.fingerprint() != before:
        raise SplitLabError(f"{attack.name} changed what it was granted; its result is void")
    _check(attack, observation, estimate, threat)
    effort = {
        "fit_seconds": round(fitted - started, 3),
        "reconstruct_seconds": round(ended - waited, 3),
        "images": float(len(observation.ids)),
    }
    return Outcome(observation.ids, estimate, effort)


def _check(attack: Attack, seen: Observation, estimate: Estimate, threat: ThreatModel) -> None:
    images = estimate.images
    wanted = (len(seen.ids), *(threat.input.shape if threat.input else images.shape[1:]))
    if tuple(images.shape) != wanted:
        raise SplitLabError(f"{attack.name} answered {tuple(images.shape)}, wanted {wanted}")
    low, high = float(images.min()), float(images.max())
    if not (low >= 0.0 and high <= 1.0):
        raise SplitLabError(
            f"{attack.name} answered values in {low:g}..{high:g}; images lie in [0, 1]"
        )
