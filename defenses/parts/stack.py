"""Several defences in one: applied in the order in which they are named."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from splitlab.contracts import ArchSpec, Defense, Phase, Protector, Task, Trace, Trainer
from splitlab.errors import BadInput
from splitlab.named import written
from splitlab.randomness import Draw, Secret


class Stack:
    """Defences in order; itself has every hook of a defence.

    Args:
        defenses: applied first to last on the client. "none" beside others adds nothing.

    Raises:
        BadInput: two of them own one thing (the architecture, the schedule); names both.
    """

    def __init__(self, defenses: Sequence[Defense]) -> None:
        self.defenses = tuple(d for d in defenses if d.name != "none")
        owners: dict[str, str] = {}
        for defense in self.defenses:
            for thing in sorted(defense.owned):
                if thing in owners:
                    raise BadInput(
                        f"{owners[thing]!r} and {defense.name!r} both own the {thing}; "
                        "stack at most one of them"
                    )
                owners[thing] = defense.name

    @property
    def name(self) -> str:
        """Names joined by +, "none" for no defence."""
        return "+".join(d.name for d in self.defenses) or "none"

    @property
    def spec(self) -> str:
        """Canonical text with every field, defaults too; `parse(spec)` gives the same stack."""
        texts = (written(d.name, d.model_dump(mode="json")) for d in self.defenses)
        return "+".join(texts) or "none"

    @property
    def stochastic(self) -> bool:
        """Whether two requests with one image differ on the wire."""
        return any(d.stochastic for d in self.defenses)

    def architecture(self, arch: ArchSpec) -> ArchSpec:
        """The network as the defences want it built."""
        for defense in self.defenses:
            arch = defense.architecture(arch)
        return arch

    def check(self, tail_start: str | None) -> None:
        """
        Raises:
            BadInput: a defence cannot act where the network is cut.
        """
        for defense in self.defenses:
            defense.check(tail_start)

    def modules(self, task: Task) -> dict[str, nn.Module]:
        """All that is added for training only, each under its defence's key."""
        made = {}
        for place, defense in enumerate(self.defenses):
            for name, module in defense.modules(task).items():
                made[f"{_key(place, defense)}{name}"] = module
        return made

    def watches(self, task: Task) -> tuple[str, ...]:
        """Paths of the modules whose outputs the objectives need."""
        return tuple(dict.fromkeys(name for d in self.defenses for name in d.watches(task)))

    def phases(self, task: Task) -> Sequence[Phase] | None:
        """The schedule of the one defence that owns it, or None for the recipe's own.

        Raises:
            BadInput: a phase brings an optimiser or a sampler, which another defence owns.
        """
        owner = self._owner("phases")
        phases = owner.phases(task) if owner is not None else None
        other = self._owner("train_with")
        if owner is not None and other is not None and owner is not other:
            for phase in phases or ():
                if phase.optimizer is not None or phase.sampler is not None:
                    raise BadInput(
                        f"{owner.name!r} in its phase {phase.name!r} and {other.name!r} both own "
                        "the optimizer; stack at most one of them"
                    )
        return phases

    def objective(self, trace: Trace) -> Tensor | None:
        """The sum of all terms, or None; each defence sees its own modules."""
        terms = []
        for place, defense in enumerate(self.defenses):
            key = _key(place, defense)
            own = {k.removeprefix(key): m for k, m in trace.modules.items() if k.startswith(key)}
            term = defense.objective(dataclasses.replace(trace, modules=own))
            terms += [] if term is None else [term]
        return sum(terms[1:], terms[0]) if terms else None

    def train_with(self, net: nn.Module, optimizer: Optimizer, task: Task) -> Trainer:
        """As the one defence says that owns the optimiser."""
        owner = self._owner("train_with")
        given = Trainer(net, optimizer)
        return given if owner is None else owner.train_with(net, optimizer, task)

    def _owner(self, hook: str) -> Defense | None:
        return next((d for d in self.defenses if d.overrides(hook)), None)

    def protectors(self, feature_shape: tuple[int, ...], secret: Secret) -> nn.ModuleList:
        """The protectors in order; each draws from a key of its own under `secret`."""
        return nn.ModuleList(protector for _, protector in self.placed(feature_shape, secret))

    @torch.inference_mode(False)
    def placed(
        self, feature_shape: tuple[int, ...], secret: Secret
    ) -> list[tuple[Defense, Protector]]:
        """The protectors in order, each with the defence that it belongs to."""
        made = []
        for place, defense in enumerate(self.defenses):
            protector = defense.protector(feature_shape, secret.derive("protector", place))
            if protector is not None:
                protector.purpose = f"{place}:{defense.name}"
                made.append((defense, protector))
        return made

    def recombine(self, outputs: list[Tensor], draw: Draw) -> list[Tensor]:
        """Acts on the bodies' outputs on the client, last defence first."""
        for defense in reversed(self.defenses):
            outputs = defense.recombine(outputs, draw)
        return outputs

    def as_fresh(self) -> Stack:
        """The same stack with fresh draws in place of everything drawn once or learned.

        What an adversary can model who knows the defence but not the noise: any draw may be it.
        """
        return Stack([defense.as_fresh() for defense in self.defenses])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stack) and self.spec == other.spec

    def __hash__(self) -> int:
        return hash(self.spec)

    def __repr__(self) -> str:
        return f"Stack({self.spec})"


def protect(protectors: nn.ModuleList, feature: Tensor, draw: Draw) -> Tensor:
    """z [B, *feature_shape] -> z', same shape: every protector in order."""
    for protector in protectors:
        feature = protector(feature, draw)
    return feature


def _key(place: int, defense: Defense) -> str:
    return f"{place}:{defense.name}."
