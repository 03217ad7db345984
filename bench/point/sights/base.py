"""A sight: what an attack is granted and shown at one point, and the truth that it is scored by.

Which one a point has follows from the kind that its attack estimates (`Kind.sight`), and for kinds
that leave it open from what the attack sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from adversary.contract.attack import Attack
from adversary.contract.threat import ThreatModel
from bench.point.identity.config import PointConfig
from bench.point.lab import Lab
from bench.point.setup import Setup
from splitlab.contracts import Features, Gradients, Scores, Seen, Targets
from splitlab.contracts.registry import load_attribute
from splitlab.data import Splits, load_splits
from splitlab.errors import BadInput

At = tuple[str, str | None]
"""Where a head ends, and where a tail starts."""
Wanted = Mapping[At, Sequence[tuple[Attack, frozenset[str]]]]
"""Attacks at each place, with the fields that they are granted."""


@dataclass(frozen=True, eq=False)
class Truth:
    """What is true of what was seen; it stays with the bench.

    Args:
        items: what the kind makes its truth of.
        groups: int64 [N], which items belong together.
        join: id of what was seen -> index of the item.
        own: what the adversary has of its own, for the kind's floor.
        context: for the metrics.
        repeated, shared: items that are another's too, or the adversary's own.
        doubts: what is doubtful of the truth itself.
    """

    items: Any
    groups: Tensor
    join: Mapping[str, int]
    own: Any
    context: Mapping[str, Any]
    repeated: int = 0
    shared: int = 0
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """What a record says of the deployment, beside the attack: see `Record`."""

    split: Mapping[str, Any]
    utility: Mapping[str, float]
    rate: Mapping[str, float] = field(default_factory=dict)
    latency: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


class Sight(Protocol):
    """One point's; made of its config and its lab.

    Args:
        LEAST_CLASSES: of the images that it is made of.
        SHOWS: what of.
        TELLS: what the context of its truth says.
        SENT: records that cross the wire for it, for each victim.
        CUTS: whether it is of a network that is cut and served, as a sweep has them.
    """

    LEAST_CLASSES: int
    SHOWS: tuple[type[Seen], ...]
    TELLS: frozenset[str]
    SENT: int
    CUTS: bool

    def __init__(self, config: PointConfig, lab: Lab) -> None: ...

    @staticmethod
    def splits(setup: Setup, seed: int, *, root: Path | None, download: bool) -> Any:
        """The data, in four partitions; `Splits` of images, or what has the same names of others.

        Raises:
            BadInput, Unavailable: they cannot be read, or are not there.
        """
        ...

    @staticmethod
    def check(setup: Setup, wanted: Wanted) -> None:
        """Ask before anything is loaded or trained.

        Raises:
            UnknownName, BadInput: a network that is none, or an attack that cannot be run there.
        """
        ...

    @staticmethod
    def given(setup: Setup, classes: int, weights: Path) -> str:
        """Hash of given weights, as they lie in the network.

        Raises:
            Mismatch: they are of another network.
        """
        ...

    @classmethod
    def prepare(cls, config: PointConfig, lab: Lab) -> None:
        """Make what attacks on this deployment have in common, if that has not been done."""
        ...

    def threat(self) -> ThreatModel:
        """What is granted; what is to be seen may come about meanwhile."""
        ...

    def rng(self) -> torch.Generator:
        """What the attack draws from."""
        ...

    @staticmethod
    def stream(config: PointConfig, attack: str) -> torch.Generator:
        """What another attack draws from at this place, where it is a row of its own."""
        ...

    def seen(self) -> tuple[Seen, ...]:
        """Waits for it; in the order of what the attack sees."""
        ...

    def truth(self) -> Truth:
        """After `seen`."""
        ...

    def facts(self) -> Facts:
        """After `seen`."""
        ...

    def shown(self, folder: Path, point: str, truth: Tensor, values: Tensor) -> tuple[Any, ...]:
        """Truth and estimates as the kind's view draws them.

        Args:
            folder: where further pictures may be written, as "<point>-<what it is>.png".
        """
        ...


class OfImages:
    """What sights of images have in common."""

    @staticmethod
    def splits(setup: Setup, seed: int, *, root: Path | None, download: bool) -> Splits:
        """With no more to train on than the setup asks for.

        Raises:
            BadInput: the data cannot be read.
        """
        return load_splits(
            setup.dataset,
            size=setup.size,
            seed=seed,
            root=root,
            download=download,
            limits={"train": setup.train} if setup.train is not None else None,
        )


BY_WHAT_IS_SEEN: Mapping[type[Seen], str] = {
    Features: "bench.point.sights.wire:OverTheWire",
    Scores: "bench.point.sights.wire:OverTheWire",
    Gradients: "bench.point.sights.gradients:OfABatch",
    Targets: "bench.point.sights.targets:OfClasses",
}


def sight_of(attack: type[Attack]) -> type[Sight]:
    """What shows an attack what it sees, and knows what is true of it.

    Raises:
        BadInput: it sees what is not shown there, or estimates what nobody knows there.
    """
    kind = attack.estimates
    found: type[Sight] = load_attribute(kind.sight or BY_WHAT_IS_SEEN[attack.sees[0]])
    if any(one not in found.SHOWS for one in attack.sees):
        wanted, shown = (", ".join(o.__name__ for o in own) for own in (attack.sees, found.SHOWS))
        raise BadInput(
            f"attack {attack.name!r} estimates {kind.name} and sees {wanted}; shown is {shown}: "
            "show it the rest from Python by adversary.contract.attack.run_attack (docs/python.md)"
        )
    if lacking := sorted(set(kind.needs) - found.TELLS):
        raise BadInput(
            f"attack {attack.name!r} estimates {kind.name}; {found.__name__} does not know "
            f"{', '.join(lacking)} of its images; name a sight that does in its Kind"
        )
    return found
