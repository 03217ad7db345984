"""A copy of a network without numbers: shapes can be followed through it at no cost."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn


def shadow(net: nn.Module) -> nn.Module:
    """A deep copy in eval mode whose parameters are on the meta device.

    Buffers are shared with `net`, not copied: they are small, and index tables and masks made from
    them may steer the network's Python. Nothing writes to them in eval mode.
    """
    memo: dict[int, Any] = {}
    for parameter in net.parameters():
        empty = nn.Parameter(parameter.detach().to("meta"), requires_grad=False)
        memo[id(parameter)] = empty
    for buffer in net.buffers():
        memo[id(buffer)] = buffer
    return copy.deepcopy(net, memo).eval()
