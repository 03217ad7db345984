"""A sight: what an attack is granted and shown at one point, and the truth that it is scored by.

Which one a point has stands on the kind that its attack estimates (`Kind.sight`).
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
from splitlab.contracts import Kind, Seen
from splitlab.contracts.registry import load_attribute
from splitlab.data import Splits, load_splits

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
    """

    items: Any
    groups: Tensor
    join: Mapping[str, int]
    own: Any
    context: Mapping[str, Any]
    repeated: int = 0
    shared: int = 0


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
    """

    LEAST_CLASSES: int

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

    @staticmethod
    def prepare(config: PointConfig, lab: Lab) -> None:
        """Make what attacks on this deployment have in common, if that has not been done."""
        ...

    def threat(self) -> ThreatModel:
        """What is granted; what is to be seen may come about meanwhile."""
        ...

    def rng(self) -> torch.Generator:
        """What the attack draws from."""
        ...

    def seen(self) -> Seen:
        """Waits for it."""
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


def sight_of(kind: Kind) -> type[Sight]:
    """What shows an attack that estimates this kind what it sees."""
    found: type[Sight] = load_attribute(kind.sight)
    return found
