"""What an attack is, and the one way it is run: checked before and after, timed from outside."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from adversary.contract.threat import ThreatModel
from adversary.contract.workplace import ALONE, Estimator, Fits, Workplace
from splitlab.contracts import Estimate, Features, Kind, Seen
from splitlab.contracts.kinds import IMAGE
from splitlab.contracts.seen import Answers
from splitlab.errors import BadInput, Mismatch, SplitLabError, UnknownName
from splitlab.named import wrong_setting
from splitlab.training import Progress, Silent

SeenTogether = Seen | tuple[Seen, ...]
FittedOn = Literal["nothing", "grant", "capture"]


class Preset(NamedTuple):
    """Hyper-parameters with a name, and where they were read."""

    fields: Mapping[str, Any]
    source: str


class Attack(BaseModel, ABC):
    """One method; its hyper-parameters are checked pydantic fields.

    `sees` is what its fit is asked of, one argument for each, in this order; the ids of the first
    are those of the answer. `estimates` is the kind of the answer.
    `asks` says, for each knowledge that the attack can be run with, which fields of a grant it is
    given in a sweep: "undefended" where no defence acts, "adaptive" and "unaware" where one does.
    `presets` are named hyper-parameters of papers and their code.
    `shares` says that fits at several split points have work in common: in one run they draw from
    the same stream of randomness and keep their checkpoints in one folder.
    `learns` says that images of the adversary's own are of use to it.
    `fitted_on` says what a fit depends on: the "grant" alone, the "capture" too, or that there is
    "nothing" to keep of it.
    `version` is raised when a change makes its numbers incomparable with those before.
    `answers` says what the least is that it needs of a network: that is what an oracle answers it
    with, and what it sees as scores.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    source: ClassVar[str]
    version: ClassVar[int] = 1
    sees: ClassVar[tuple[type[Seen], ...]] = (Features,)
    estimates: ClassVar[Kind] = IMAGE
    shares: ClassVar[bool] = False
    learns: ClassVar[bool] = True
    fitted_on: ClassVar[FittedOn] = "grant"
    answers: ClassVar[Answers] = "logits"
    asks: ClassVar[Mapping[str, frozenset[str]]]
    presets: ClassVar[Mapping[str, Preset]] = {}

    @abstractmethod
    def fit(self, threat: ThreatModel, rng: torch.Generator, work: Workplace = ALONE) -> Estimator:
        """Prepare from knowledge alone; the returned function keeps all state there is.

        Raises:
            MissingKnowledge: a field that the attack cannot do without is not granted.
        """

    @property
    def starts_from(self) -> tuple[Attack, ...]:
        """Attacks whose fits it asks for: a run measures them together, so that each is made once.

        One may be missing here; then its fit may be made twice.
        """
        return ()

    def check(self, threat: ThreatModel) -> None:
        """Whether such a network and cut can be attacked, asked before anything is trained.

        Args:
            threat: what will be granted, with weights that have learned nothing and no images.

        Raises:
            BadInput, MissingKnowledge: as `fit` and what it returns will for any weights.
        """
        del threat

    def told(self) -> dict[str, Any]:
        """Its settings as a record has them: JSON, a file by what is in it and not by its path."""
        return self.model_dump(mode="json")

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
            raise wrong_setting(f"attack {cls.name!r}", error.errors(), cls.model_fields) from error


def require_features(kind: type[Attack], who: str) -> None:
    """Ask before anything is trained whether captured features are what an attack sees.

    Args:
        who: that shows it features and nothing else.

    Raises:
        BadInput: it sees something else, or more.
    """
    if kind.sees != (Features,):
        wanted = ", ".join(one.__name__ for one in kind.sees)
        raise BadInput(
            f"attack {kind.name!r} sees {wanted}, and {who} shows captured features alone; `bench "
            "sweep-split-points` shows it the rest, as does adversary.contract.attack.run_attack "
            "from Python (docs/python.md)"
        )


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
    observed: SeenTogether | Callable[[], SeenTogether],
    rng: torch.Generator,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
    checkpoint: Path | None = None,
    fits: Fits | None = None,
) -> Outcome:
    """Fit, then estimate; the threat model must come out as it went in.

    Args:
        observed: what was seen, several kinds of it as a tuple; or a function that waits for it
            while the attack is fitted.
        fits: of this and other attacks; what this one takes of them counts as its own time, and
            is said as `borrowed_seconds`.

    Raises:
        MissingKnowledge: the attack needs what was not granted.
        Mismatch: features of another shape than the threat model's, or another kind of sight than
            the attack's.
        SplitLabError: the attack changed what it was granted, or its answer is none of its kind.
    """
    before, seed = threat.fingerprint(), rng.initial_seed() % 2**63
    told = Silent() if progress is None else progress
    work = Workplace(device, told, checkpoint, threat, seed, fits or Fits())
    count, asked = work.fits.heads, threat.oracle.queries if threat.oracle is not None else 0
    before_images = count.images
    with ExitStack() as hooks:
        if threat.head is not None:
            watched = count.watch(threat.head)
            if fits is None:  # nobody borrows the fit, which holds this head
                hooks.callback(watched.remove)
        started = time.perf_counter()
        estimator = work.made(attack, rng)
        fitted = time.perf_counter()
        given = observed() if callable(observed) else observed
        seen = given if isinstance(given, tuple) else (given,)
        _check_seen(attack, seen, threat)
        waited = time.perf_counter()
        estimate = estimator(*seen)
        ended = time.perf_counter()
    if threat.fingerprint() != before:
        raise SplitLabError(f"{attack.name} changed what it was granted; its result is void")
    ids = seen[0].ids
    if fault := attack.estimates.check(estimate.values, len(ids), threat.input):
        raise SplitLabError(f"{attack.name} {fault}")
    queries = len(threat.observe.images) if threat.observe is not None else 0
    if threat.oracle is not None:
        queries += threat.oracle.queries - asked
    lent = work.lent
    effort = {
        "fit_seconds": round(fitted - started + lent.seconds, 3),
        "reconstruct_seconds": round(ended - waited, 3),
        "images": float(len(ids)),
        "head_images": float(count.images - before_images + lent.images),
        "queries": float(queries + lent.queries),
    }
    if lent.seconds:
        effort["borrowed_seconds"] = round(lent.seconds, 3)
    return Outcome(ids, estimate, effort)


def _check_seen(attack: Attack, seen: tuple[Seen, ...], threat: ThreatModel) -> None:
    if tuple(map(type, seen)) != attack.sees:
        shown, wanted = (
            ", ".join(one.__name__ for one in kinds) for kinds in (map(type, seen), attack.sees)
        )
        raise Mismatch(f"{attack.name} was shown {shown}; it sees {wanted}")
    for one in seen:
        if not isinstance(one, Features) or threat.feature is None:
            continue
        if (given := tuple(one.features.shape[1:])) != threat.feature.shape:
            raise Mismatch(
                f"captured features are {given}, the grant is for {threat.feature.shape}; "
                "take a grant of the deployment that was tapped"
            )
