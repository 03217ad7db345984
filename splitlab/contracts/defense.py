"""What a defence is: frozen hyper-parameters and hooks that all default to "nothing"."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from splitlab.contracts.arch import ArchSpec
from splitlab.randomness import Draw, Secret


class Protector(nn.Module):
    """Acts on features on the client. Its tensors, learned or fixed, stay in the client half.

    `purpose` keys its fresh draws; a stack sets it, so that two layers of one kind draw apart.
    """

    purpose: str = "noise"

    def forward(self, feature: Tensor, draw: Draw) -> Tensor:
        """z [B, *feature_shape] -> z', same shape. All fresh randomness comes from `draw`.

        Never writes into `feature`.
        """
        raise NotImplementedError

    @property
    def ready(self) -> bool:
        """Whether it acts as its defence says; what is learned after training does not before."""
        return True


@dataclass(frozen=True)
class Task:
    """What a schedule may depend on: the network, where it is cut, how long it trains."""

    arch: ArchSpec
    head_end: str
    tail_start: str | None
    epochs: int
    batch_size: int


@dataclass(frozen=True)
class Phase:
    """One stretch of training.

    Args:
        name: shown in the progress bar and in the record.
        epochs: passes over the training images.
        trainable: says of a parameter name whether it is trained.
        optimizer: named parameters -> optimizer.
        sampler: None for a fresh permutation an epoch, else (size, generator) -> indices.
    """

    name: str
    epochs: int
    trainable: Callable[[str], bool]
    optimizer: Callable[[Sequence[tuple[str, nn.Parameter]]], torch.optim.Optimizer]
    sampler: Callable[[int, torch.Generator], Tensor] | None = None


class Defense(BaseModel):
    """A defence; subclasses add hyper-parameters as pydantic fields and override hooks.

    `owns` names what at most one defence of a stack may own ("schedule", "optimizer",
    "architecture", "bodies"); two owners of one thing are an error that names them. `retrains`:
    the network learns with the defence; else it is put in front of a network trained without.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    source: ClassVar[str] = ""
    owns: ClassVar[frozenset[str]] = frozenset()
    watches: ClassVar[tuple[str, ...]] = ()
    retrains: ClassVar[bool] = False

    @property
    def stochastic(self) -> bool:
        """Whether two requests with one image differ on the wire."""
        return False

    def architecture(self, arch: ArchSpec) -> ArchSpec:
        """The network as this defence wants it built."""
        return arch

    def check(self, tail_start: str | None) -> None:
        """
        Args:
            tail_start: where the client's tail begins; None for no tail.

        Raises:
            BadInput: this defence cannot act on a network that is cut like this.
        """
        del tail_start

    def phases(self, task: Task) -> list[Phase] | None:
        """The schedule, or None for the recipe's own."""
        del task
        return None

    def penalty(self, trace: Mapping[str, Tensor]) -> Tensor | None:
        """A term added to the training loss, from the activations that `watches` names."""
        del trace
        return None

    def protector(self, feature_shape: tuple[int, ...], secret: Secret) -> Protector | None:
        """What acts on z [B, *feature_shape]; fixed noise is drawn here, from `secret`."""
        del feature_shape, secret
        return None

    def recombine(self, outputs: list[Tensor], draw: Draw) -> list[Tensor]:
        """Acts on the bodies' outputs on the client, before the selector."""
        del draw
        return outputs

    def as_fresh(self) -> Self:
        """What an adversary can model who knows these fields but not the tensors drawn or learned.

        Its protectors draw anew for every row and need nothing secret.
        """
        return self


class Defended(Protocol):
    """A stack of defences, as the client half needs it; `defenses.parse` makes one from text."""

    @property
    def spec(self) -> str:
        """Canonical text that parses back to the same stack, e.g. "gaussian:level=0.1"."""
        ...

    def protectors(self, feature_shape: tuple[int, ...], secret: Secret) -> nn.ModuleList:
        """The protectors in the order in which they act; empty for no defence."""
        ...

    def recombine(self, outputs: list[Tensor], draw: Draw) -> list[Tensor]:
        """What the defences do to the bodies' outputs before the selector."""
        ...
