"""Where an attack is fitted: its device, who is told, what a kill leaves, and others' fits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from adversary.contract.threat import ThreatModel
from defenses import DEFENSES
from splitlab.contracts.estimate import Estimate
from splitlab.contracts.method import told_of
from splitlab.data import ImageSet
from splitlab.entry_points import ATTACK_GROUP
from splitlab.errors import SplitLabError
from splitlab.named import named_fields, stacked
from splitlab.randomness import generator
from splitlab.record import METHOD_VERSION
from splitlab.storage import canonical_json, hash_tensors, sha256
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

    name: ClassVar[Any]
    asks: ClassVar[Any]
    fitted_on: ClassVar[Any]

    def fit(self, threat: ThreatModel, rng: torch.Generator, work: Workplace) -> Estimator: ...

    def model_dump(self, *, mode: str) -> dict[str, Any]: ...


class Spent(NamedTuple):
    """What a fit took; what the fits that it borrowed took is within.

    Args:
        images: that went through the head.
        queries: to the oracle.
    """

    seconds: float = 0.0
    images: int = 0
    queries: int = 0

    def since(self, then: Spent) -> Spent:
        """What was taken after that."""
        images, queries = self.images - then.images, self.queries - then.queries
        return Spent(self.seconds - then.seconds, images, queries)


class Fit(NamedTuple):
    """What a fit has made, and what it took.

    Args:
        rng, state: what it drew from, and where that stood: answers continue from there.
    """

    estimator: Estimator
    took: Spent
    rng: torch.Generator
    state: Tensor


class Heads:
    """Images that went through a granted head, or through copies of it, forwards."""

    def __init__(self) -> None:
        self.images = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> Heads:
        return self

    def __call__(self, _module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.images += len(inputs[0])

    def watch(self, head: nn.Module) -> RemovableHandle:
        """Count once what goes through it, from now on: a fit that others borrow holds its head."""
        for key in [k for k, hook in head._forward_pre_hooks.items() if hook is self]:
            del head._forward_pre_hooks[key]
        return head.register_forward_pre_hook(self)


@dataclass
class Fits:
    """Fits that depend on a grant alone, each made once for all that ask for it.

    Args:
        stream: name of an attack -> what its fit draws from; None for streams of the asker's own.
        kept: `fit_key` -> fit.
        heads: counts for all of them.
    """

    stream: Callable[[str], torch.Generator] | None = None
    kept: dict[str, Fit] = field(default_factory=dict)
    heads: Heads = field(default_factory=Heads)


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
        borrowed: those of them that were asked for; of those made for it, without what they took.
    """

    device: str = "cpu"
    progress: Progress = field(default_factory=Silent)
    checkpoint: Path | None = None
    grant: ThreatModel | None = None
    seed: int = 0
    fits: Fits = field(default_factory=Fits)
    borrowed: dict[str, Fit] = field(default_factory=dict)

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
        """Another attack's fit, made once for all that ask for it and for its own row of a run.

        It is granted what it asks for, as far as this attack is, and draws as its own row does.

        Raises:
            MissingKnowledge: that attack needs what is not granted.
            SplitLabError: no grant is at hand; an attack was fitted without `run_attack`.
        """
        if self.grant is None:
            raise SplitLabError(
                f"a fit of {attack.name!r} is wanted and no grant is at hand; use run_attack, or "
                "give the Workplace a grant"
            )
        asked = attack.asks.get(self.grant.name)
        grant = self.grant if asked is None else self.grant.reduced(asked)
        stream = self.fits.stream
        rng = stream(attack.name) if stream else generator(self.seed, "fitted", attack.name)
        key = fit_key(attack, grant, rng.initial_seed())
        place = self.beside(f"{attack.name}-{key}")
        return replace(place, grant=grant, seed=rng.initial_seed() % 2**63).made(attack, rng)

    def made(self, attack: Fittable, rng: torch.Generator) -> Estimator:
        """The attack's fit under just this grant, taken from `fits` where it is there."""
        assert self.grant is not None
        if attack.fitted_on != "grant":
            return attack.fit(self.grant, rng, self)
        key = fit_key(attack, self.grant, rng.initial_seed())
        if (found := self.fits.kept.get(key)) is not None:
            self.borrowed.setdefault(key, found)
            found.rng.set_state(found.state)
            return found.estimator
        before = self._taken()
        estimator = attack.fit(self.grant, rng, self)
        took = self._taken().since(before)
        made = self.fits.kept[key] = Fit(estimator, took, rng, rng.get_state())
        self.borrowed[key] = made._replace(took=Spent())  # within what this one takes
        return estimator

    @property
    def lent(self) -> Spent:
        """What the fits took that somebody had made before."""
        fits = [fit.took for fit in self.borrowed.values()]
        seconds = sum(one.seconds for one in fits)
        return Spent(seconds, sum(one.images for one in fits), sum(one.queries for one in fits))

    def _taken(self) -> Spent:
        """So far, of clock, head and oracle, with what was borrowed."""
        oracle = self.grant and self.grant.oracle
        seconds, images, queries = self.lent
        return Spent(
            time.perf_counter() + seconds,
            self.fits.heads.images + images,
            (oracle.queries if oracle else 0) + queries,
        )


ALONE = Workplace()
"""On the CPU, silent, keeping nothing."""


def fit_key(attack: Fittable, threat: ThreatModel, seed: int) -> str:
    """12 hex digits, others for another attack, setting, seed, method or piece of knowledge."""
    told = {
        "method": METHOD_VERSION,
        "attack": attack.name,
        "settings": attack.model_dump(mode="json"),
        "seed": seed,
        "wire": threat.wire,
        "defense": threat.defense,
        "head_end": threat.head_end,
        "tail_start": threat.tail_start,
        "outputs": [threat.P, threat.selector],
        "feature": threat.feature and threat.feature.model_dump(mode="json"),
        "network": network_key(threat),
    }
    if packages := _packages(attack, threat.defense):
        told["packages"] = packages
    if threat.oracle is not None:
        told["oracle"] = threat.oracle.answers
    labels = {}
    if (own := threat.aux) is not None:
        labels = {"aux": own.images.labels, "held out": own.validation.labels}
        told["images"] = [own.kind, own.layers, own.images.classes]
    parts = (threat.fingerprint(), hash_tensors(labels))
    return sha256(canonical_json(told), *(part.encode() for part in parts))[:12]


def _packages(attack: Fittable, defense: str | None) -> dict[str, str]:
    """Which of the methods are another package's, or not in their first version."""
    found = {f"attack {attack.name}": told_of(ATTACK_GROUP, attack.name, type(attack))}
    for name in (named_fields(part)[0] for part in stacked(defense or "none")):
        if name in DEFENSES:
            DEFENSES.require_permitted(name)
            found[f"defense {name}"] = told_of(DEFENSES.group, name, DEFENSES.load(name))
    return {name: one for name, one in found.items() if one}


def network_key(threat: ThreatModel) -> str:
    """8 hex digits of what no weight tells: architecture and normalisation, not where it is cut."""
    known: dict[str, Any] = {
        name: value and value.model_dump(mode="json")
        for name, value in (("arch", threat.arch), ("input", threat.input))
    }
    return sha256(canonical_json({**known, "method": METHOD_VERSION}))[:8]
