"""What an attack is, and the one way it is run: checked before and after, timed from outside."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from adversary.contract.threat import ThreatModel
from splitlab.errors import BadInput, Mismatch, SplitLabError, UnknownName, plain
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
FittedOn = Literal["nothing", "grant", "capture"]


class Preset(NamedTuple):
    """Hyper-parameters with a name, and where they were read."""

    fields: Mapping[str, Any]
    source: str


class Attack(BaseModel, ABC):
    """One method; its hyper-parameters are checked pydantic fields.

    `asks` says, for each knowledge that the attack can be run with, which fields of a grant it is
    given in a sweep: "undefended" where no defence acts, "adaptive" and "unaware" where one does.
    `presets` are named hyper-parameters of papers and their code.
    `shares` says that fits at several split points have work in common: in one run they draw from
    the same stream of randomness and keep their checkpoints in one folder.
    `learns` says that images of the adversary's own are of use to it.
    `fitted_on` says what a fit depends on: the "grant" alone, the "capture" too, or that there is
    "nothing" to keep of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    source: ClassVar[str]
    observes: ClassVar[str] = "feature"
    estimates: ClassVar[str] = "image"
    shares: ClassVar[bool] = False
    learns: ClassVar[bool] = True
    fitted_on: ClassVar[FittedOn] = "grant"
    asks: ClassVar[Mapping[str, frozenset[str]]]
    presets: ClassVar[Mapping[str, Preset]] = {}

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

    def check(self, threat: ThreatModel) -> None:
        """Whether such a network and cut can be attacked, asked before anything is trained.

        Args:
            threat: what will be granted, with weights that have learned nothing and no images.

        Raises:
            BadInput, MissingKnowledge: as `fit` and what it returns will for any weights.
        """
        del threat

    @classmethod
    def learning_from(cls, options: Mapping[str, Any], count: int) -> dict[str, Any]:
        """The options with which it learns from `count` images that it is granted.

        Raises:
            BadInput: the options say that it shall not.
        """
        del count  # of importance to an attack that would else make images of its own
        return dict(options)

    def learned_images(self, pairs: int, size: int) -> int | None:
        """Images that its training sees, each as often as it does, where it learns from `pairs`.

        None where that is in proportion to the pairs.

        Args:
            size: side of an image in pixels.
        """
        del pairs, size
        return None

    @classmethod
    def configured(cls, options: Mapping[str, Any]) -> Self:
        """The attack with these hyper-parameters; {"preset": name} is filled in before them.

        Raises:
            UnknownName: no such preset.
            BadInput: one that it has not, or out of range; the message lists what it has.
        """
        fields = dict(options)
        preset = fields.pop("preset", None)
        if preset is not None:
            if preset not in cls.presets:
                raise UnknownName(f"preset of {cls.name}", str(preset), cls.presets)
            fields = {**cls.presets[preset].fields, **fields}
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            known = ", ".join(cls.model_fields) or "none"
            raise BadInput(
                f"attack {cls.name!r}, {name}={first['input']!r}: {plain(first['msg'])}; "
                f"its settings are: {known}"
            ) from error


@dataclass(frozen=True, eq=False)
class Outcome:
    """An estimate with the ids it belongs to, and what it cost."""

    ids: tuple[str, ...]
    estimate: Estimate
    effort: dict[str, float]


def seed_of(rng: torch.Generator) -> int:
    """A public seed drawn from `rng`, for what takes a number."""
    return int(torch.randint(2**62, (), generator=rng))


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
        MissingKnowledge: the attack needs what was not granted.
        Mismatch: captured features of another shape than the threat model's.
        SplitLabError: the attack changed what it was granted, or answered with images of another
            number, shape or range than [n, 3, S, S] in [0, 1].
    """
    before = threat.fingerprint()
    count = _Count()
    with ExitStack() as hooks:
        if threat.head is not None:
            hooks.callback(threat.head.register_forward_pre_hook(count).remove)
        started = time.perf_counter()
        reconstruct = attack.fit(
            threat, rng, device=device, progress=progress, checkpoint=checkpoint
        )
        fitted = time.perf_counter()
        observation = observed() if callable(observed) else observed
        _check_features(observation, threat)
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
        "head_images": float(count.images),
        "queries": float(len(threat.observe.images)) if threat.observe is not None else 0.0,
    }
    return Outcome(observation.ids, estimate, effort)


class _Count:
    """Images that went through the granted head, or through copies of it, forwards."""

    def __init__(self) -> None:
        self.images = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> _Count:
        return self

    def __call__(self, _module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.images += len(inputs[0])


def _check_features(seen: Observation, threat: ThreatModel) -> None:
    given = tuple(seen.features.shape[1:])
    if threat.feature is not None and given != threat.feature.shape:
        raise Mismatch(
            f"captured features are {given}, the grant is for {threat.feature.shape}; "
            "take a grant of the deployment that was tapped"
        )
    if len(seen.ids) != len(seen.features) or not seen.ids:
        raise Mismatch(
            f"{len(seen.ids)} ids and {len(seen.features)} features; wanted one id a row and at "
            "least one row"
        )


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
