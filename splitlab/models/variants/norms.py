"""The variant `norm`: other layers in place of every batch norm, or none.

Batch norms mix the images of a batch, which forbids per-sample gradients (DP-SGD), and are one of
the differences between convolutional networks and transformers (paper 002, step 12).
"""

from __future__ import annotations

import math
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from splitlab.errors import BadInput

GROUPS = 32
"""Of a group norm (Wu and He 2018); fewer where they do not divide the channels."""
NORMS = ("group", "layer", "none")


def norms_replaced(net: nn.Module, kind: Any) -> nn.Module:
    """`net` with each batch norm replaced, in place.

    Args:
        kind: "group" for `GROUPS` groups, "layer" for one group of all channels, "none" for the
            identity. What timm joined to a norm (dropout, activation) stays behind it.

    Raises:
        BadInput: another kind, or there is no batch norm.
    """
    if kind not in NORMS:
        raise BadInput(f"variant norm={kind!r}: give one of {', '.join(NORMS)}")
    found = [(path, part) for path, part in net.named_modules() if isinstance(part, _BatchNorm)]
    if not found:
        raise BadInput(
            f"variant norm={kind!r}: {type(net).__name__} has no batch norm; leave it out"
        )
    for path, norm in found:
        parent, _, name = path.rpartition(".")
        setattr(net.get_submodule(parent), name, _instead(norm, kind))
    return net


def _instead(norm: _BatchNorm, kind: str) -> nn.Module:
    channels = norm.num_features
    groups = 1 if kind == "layer" else math.gcd(GROUPS, channels)
    new: nn.Module = nn.GroupNorm(groups, channels, norm.eps, norm.affine)
    if kind == "none":
        new = nn.Identity()
    joined = [getattr(norm, name) for name in ("drop", "act") if hasattr(norm, name)]
    return nn.Sequential(new, *joined) if joined else new
