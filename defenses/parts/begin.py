"""Trained weights of an undefended network as what a defended one begins from."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from splitlab.errors import Mismatch
from splitlab.models import Normalised

SHOWN = 4


def begin_from(net: Normalised, state: Mapping[str, Tensor]) -> list[str]:
    """Load `state` into a network that a defence's architecture has changed, in place.

    Args:
        net: as the defence wants it built.
        state: of `.net` of the undefended network.

    Returns:
        names in `state` that `net` has no place for, such as the projection of a dropped skip.

    Raises:
        Mismatch: `net` has tensors that `state` has not, or not of their shape; names them.
    """
    own = net.net.state_dict()
    odd = [
        f"{name} {tuple(value.shape)}"
        + (f" for {tuple(state[name].shape)}" if name in state else " is new")
        for name, value in own.items()
        if name not in state or state[name].shape != value.shape
    ]
    if odd:
        more = f" and {len(odd) - SHOWN} more" if len(odd) > SHOWN else ""
        raise Mismatch(
            "the given weights do not fit the network as its defence changes it: "
            f"{'; '.join(odd[:SHOWN])}{more}; leave out --weights, or choose a defence that keeps "
            "these tensors"
        )
    net.net.load_state_dict({name: state[name] for name in own})
    return [name for name in state if name not in own]
