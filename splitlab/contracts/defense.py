"""What a defence is: frozen hyper-parameters and hooks that all default to "nothing"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol, Self

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.optim import Optimizer

from splitlab.contracts.arch import ArchSpec
from splitlab.contracts.lesson import Phase, Task, Trace, Trainer
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


OWNED = {"architecture": "architecture", "phases": "schedule", "train_with": "optimizer"}
"""Hooks of which a stack may hold one: name -> what its owner owns."""
IN_TRAINING = (*OWNED, "modules", "watches", "objective")


class Defense(BaseModel):
    """A defence; subclasses add hyper-parameters as pydantic fields and override hooks.

    `owns` names what at most one defence of a stack may own ("bodies", "outputs", "head"), besides
    what it owns by its hooks: architecture, schedule, optimizer. Objectives add up. `retrains`:
    the network learns with the defence; else it is put in front of a network trained without,
    unless one of its hooks has a part in training. `version` is raised when a change makes numbers
    with it incomparable: what was trained or measured before is of another method then.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    source: ClassVar[str] = ""
    version: ClassVar[int] = 1
    owns: ClassVar[frozenset[str]] = frozenset()
    retrains: ClassVar[bool] = False

    @property
    def stochastic(self) -> bool:
        """Whether two requests with one image differ on the wire."""
        return False

    def overrides(self, hook: str) -> bool:
        """Whether it has a hook of its own of that name."""
        return getattr(type(self), hook) is not getattr(Defense, hook)

    @property
    def owned(self) -> frozenset[str]:
        """What no other defence of a stack may own."""
        return self.owns | {thing for hook, thing in OWNED.items() if self.overrides(hook)}

    @property
    def learns(self) -> bool:
        """Whether a network has to be trained for it."""
        return self.retrains or any(self.overrides(hook) for hook in IN_TRAINING)

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

    def modules(self, task: Task) -> Mapping[str, nn.Module]:
        """What it adds for training only, by names of its own; trained along, never deployed."""
        del task
        return {}

    def watches(self, task: Task) -> Sequence[str]:
        """Paths of the modules whose outputs `objective` needs."""
        del task
        return ()

    def phases(self, task: Task) -> Sequence[Phase] | None:
        """The schedule, or None for the recipe's own."""
        del task
        return None

    def objective(self, trace: Trace) -> Tensor | None:
        """A term added to the training loss, a scalar; None for none."""
        del trace
        return None

    def train_with(self, net: nn.Module, optimizer: Optimizer, task: Task) -> Trainer:
        """Other hands for the training: per-sample gradients, a noisy optimiser, a sampler.

        Args:
            net: images -> logits, in train mode, on the device; its parameters stay what they are.
            optimizer: the one that runs through all phases.
        """
        del task
        return Trainer(net, optimizer)

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
