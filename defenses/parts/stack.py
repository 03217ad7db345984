"""Several defences in one: applied in the order in which they are named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from splitlab.contracts import ArchSpec, Defense, Phase, Protector, Task
from splitlab.errors import BadInput
from splitlab.named import written
from splitlab.randomness import Draw, Secret


class Stack:
    """Defences in order; itself has every hook of a defence.

    Args:
        defenses: applied first to last on the client. "none" beside others adds nothing.

    Raises:
        BadInput: two of them own one thing (the schedule, the optimiser); names both.
    """

    def __init__(self, defenses: Sequence[Defense]) -> None:
        self.defenses = tuple(d for d in defenses if d.name != "none")
        owners: dict[str, str] = {}
        for defense in self.defenses:
            for thing in sorted(defense.owns):
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
        return "+".join(_text(d) for d in self.defenses) or "none"

    @property
    def stochastic(self) -> bool:
        """Whether two requests with one image differ on the wire."""
        return any(d.stochastic for d in self.defenses)

    @property
    def watches(self) -> tuple[str, ...]:
        """Names of the activations that `penalty` needs."""
        return tuple(dict.fromkeys(name for d in self.defenses for name in d.watches))

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

    def phases(self, task: Task) -> list[Phase] | None:
        """The schedule of the one defence that owns it, or None for the recipe's own."""
        for defense in self.defenses:
            if (phases := defense.phases(task)) is not None:
                return phases
        return None

    def penalty(self, trace: Mapping[str, Tensor]) -> Tensor | None:
        """The sum of all penalties, or None."""
        terms = [t for d in self.defenses if (t := d.penalty(trace)) is not None]
        return sum(terms[1:], terms[0]) if terms else None

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


def _text(defense: Defense) -> str:
    return written(defense.name, defense.model_dump(mode="json"))
