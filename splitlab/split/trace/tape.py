"""A tape: what a network did to one batch, operation by operation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from splitlab.split.limits.contexts import Autocast
from splitlab.split.trace.calls import Call


@dataclass(frozen=True)
class TapeStep:
    """One operation of a tape.

    Args:
        name: unique; path of the module it happened in, and what it is.
        call: arguments are plain data with a `Ref` for every tensor; "get_attr" and "input" have
            none.
        value: the result, with a `Shape` for every tensor.
        macs: multiply-accumulates for the whole batch.
        autocast: what was on where it was done.
    """

    name: str
    call: Call
    value: Any
    macs: int
    autocast: Autocast = ()


@dataclass
class Tape:
    """Args:
    steps: in the order of execution; the first is the input.
    ends: (module path, number of the call, step of the one tensor that it returned), in order.
    output: what the network returned.
    constants: tensors that are neither parameters nor buffers, by the name a step gives them.
    kept: paths of modules that must keep their forward pre-hooks, which make their weights.
    left: id of each tensor that the run made -> the tensor, and whether it depends on the image.
    """

    steps: list[TapeStep] = field(default_factory=list)
    ends: list[tuple[str, int, int]] = field(default_factory=list)
    output: Any = None
    constants: dict[str, Tensor] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    left: dict[int, tuple[Tensor, bool]] = field(default_factory=dict)
