"""Variants: changes of a network that `ArchSpec.variants` names, functions network -> network.

Whoever builds the network from JSON makes the same changes, without knowing whose defence they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from splitlab.errors import BadInput
from splitlab.models.variants.norms import norms_replaced
from splitlab.models.variants.skips import Change, changes_of_skips, merged_skips, skips_scaled

VARIANTS: dict[str, Callable[[nn.Module, Any], nn.Module]] = {
    "skip": skips_scaled,
    "norm": norms_replaced,
}


def varied(net: nn.Module, variants: Mapping[str, Any]) -> nn.Module:
    """`net` with these changes; it may itself be changed.

    Raises:
        BadInput: no such variant, or one that does not fit the network.
    """
    for name, value in variants.items():
        if name not in VARIANTS:
            raise BadInput(f"variant {name!r}: known are {', '.join(VARIANTS)}")
        net = VARIANTS[name](net, value)
    return net


def changes_in_place(net: nn.Module, variants: Mapping[str, Any]) -> list[Change]:
    """What sets the scalars of `net` as these variants want them, once each is called.

    No module that holds parameters is replaced, so that optimisers and hooks keep theirs.

    Raises:
        BadInput: a variant that is no scalar, or one that does not fit the network.
    """
    if others := sorted(variants.keys() - {"skip"}):
        raise BadInput(
            f"variant {', '.join(others)} in a phase: there only skip can change, whose scalars "
            "change in place; let the defence's architecture hold the others"
        )
    return changes_of_skips(net, variants["skip"]) if variants else []


def merged(first: Mapping[str, Any], then: Mapping[str, Any]) -> dict[str, Any]:
    """The variants of a network of `first` after the changes `then` in place."""
    both = {**first, **then}
    if "skip" in first and "skip" in then:
        both["skip"] = merged_skips(first["skip"], then["skip"])
    return both


__all__ = ["VARIANTS", "Change", "changes_in_place", "merged", "varied"]
