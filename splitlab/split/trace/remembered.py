"""What was followed once is not followed again: flows of library networks, by their structure.

A sweep cuts one architecture at every split point, a grant, a client and a chain of blocks again,
and many seeds of it. Only networks of the libraries' own layers are remembered: what their Python
does depends on nothing but what the key holds. A user's module may read anything.
"""

from __future__ import annotations

import enum
import functools
import types
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

LIBRARIES = ("torch.nn.modules.", "torchvision.", "timm.", "splitlab.models.")
MOST = 16
"""Flows that are kept; one is some hundred small objects and no tensor."""
_PLAIN = (int, float, complex, str, bytes, type(None), torch.dtype, torch.device)


T = TypeVar("T")


class _Unknown(Exception):
    """Something that the key cannot hold."""


class LastAsked(Generic[T]):
    """The `MOST` that were asked for last, by a key; None is no key."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable) -> T | None:
        found = self._kept.pop(key, None)
        if found is not None:
            self._kept[key] = found
        return found

    def put(self, key: Hashable, value: T) -> None:
        if key is not None:
            self._kept[key] = value
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)


def key_of(net: nn.Module, input_shape: tuple[int, ...], numbers: bool) -> Hashable | None:
    """What a flow is remembered by; None where the network may do something else each time."""
    known = structure(net)
    return None if known is None else (known, tuple(input_shape), numbers)


def structure(net: nn.Module) -> Hashable | None:
    """All that the course of `net` can depend on, or None where that cannot be told.

    Weights and statistics play no part, tables of integers do.
    """
    seen: dict[int, int] = {}
    try:
        found = [
            (path, _module(module, seen))
            for path, module in net.named_modules(remove_duplicate=False)
        ]
    except _Unknown:
        return None
    return (torch.get_default_dtype(), *found)


def _module(module: nn.Module, seen: dict[int, int]) -> Hashable:
    kind = type(module)
    if not f"{kind.__module__}.".startswith(LIBRARIES):
        raise _Unknown
    number = seen.setdefault(id(module), len(seen))
    values: list[Hashable] = []
    for name, value in vars(module).items():
        if name == "_modules":
            values.append(tuple(key for key, one in value.items() if one is None))
        elif name == "_parameters":
            values.append(tuple((key, _tensor(one, seen)) for key, one in value.items()))
        elif name == "_buffers":
            counts = isinstance(module, nn.modules.batchnorm._NormBase)
            values.append(
                tuple(
                    (key, _tensor(one, seen), () if counts else _table(one))
                    for key, one in value.items()
                )
            )
        elif name != "_non_persistent_buffers_set":
            values.append((name, _value(value)))
    return kind, kind.forward, number, tuple(values)


def _tensor(tensor: Tensor | None, seen: dict[int, int]) -> Hashable:
    if tensor is None:
        return None
    number = seen.setdefault(id(tensor), len(seen))
    return number, type(tensor), tuple(tensor.shape), tensor.dtype, tensor.device.type


def _table(tensor: Tensor | None) -> Hashable:
    """The numbers of a table that may steer Python."""
    if tensor is None or tensor.is_floating_point() or tensor.is_meta:
        return ()
    return tensor.cpu().contiguous().numpy().tobytes()


def _value(value: Any) -> Hashable:
    """
    Raises:
        _Unknown: it may be changed where nobody sees it, as a hook or an object with a state.
    """
    if isinstance(value, bool) or type(value) in _PLAIN:
        return type(value), value
    if isinstance(value, (list, tuple)):
        return type(value), tuple(_value(one) for one in value)
    if isinstance(value, (set, frozenset)) and not value:
        return type(value)
    if isinstance(value, dict):
        return type(value), tuple((_value(key), _value(one)) for key, one in value.items())
    if isinstance(value, functools.partial):
        return functools.partial, _value(value.func), _value(value.args), _value(value.keywords)
    if _is_of_library(value):
        return value
    raise _Unknown


def _is_of_library(value: Any) -> bool:
    """Whether it is a function, class or choice of a library, which stays what it is."""
    if isinstance(value, types.FunctionType) and value.__closure__ is not None:
        return False
    if not isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType, enum.Enum)):
        return False
    home = f"{value.__module__}."
    return home.startswith((*LIBRARIES, "torch.", "builtins."))
