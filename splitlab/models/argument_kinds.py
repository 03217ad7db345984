"""Whether a network's arguments are of the kind that its class declares, or its defaults have.

Python lets `zero_init_residual=maybe` through as a true value, and torchvision makes a network of
eight channels of `width_mult=-1`: such a network would be measured under a wrong name.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Any

from torch import nn

from splitlab.errors import BadInput, foreign

_SIMPLE = (bool, int, float, str, type(None))
_CALLED = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a word",
    type(None): "None",
}


def check_arguments(name: str, arguments: Mapping[str, Any], declared: Callable[..., Any]) -> None:
    """
    Args:
        declared: a builder or a class's `__init__`; arguments that it does not name pass.

    Raises:
        BadInput: an argument of another kind than is declared, a number below zero, or a size or
            factor of zero where its default is neither.
    """
    hints, parameters = _hints(declared), inspect.signature(declared).parameters
    for key, value in arguments.items():
        if key in parameters:
            default = parameters[key].default
            _check_kind(name, key, value, _kinds(hints.get(key), default))
            _check_range(name, key, value, default)


def check_kinds(name: str, arguments: Mapping[str, Any], declared: Callable[..., Any]) -> None:
    """
    Raises:
        BadInput: an argument of another kind than is declared; what a default is says nothing of a
            stranger's function, but that a choice of True or False is one.
    """
    hints, parameters = _hints(declared), inspect.signature(declared).parameters
    for key, value in arguments.items():
        if key not in parameters:
            continue
        default = parameters[key].default
        kinds = _kinds(hints.get(key), default if isinstance(default, bool) else None)
        _check_kind(name, key, value, kinds)


def check_weights(name: str, arguments: Mapping[str, Any], net: nn.Module) -> None:
    """
    Args:
        net: as it was built with `arguments`.

    Raises:
        BadInput: it has none, or a layer without a single one.
    """
    empty = [key for key, parameter in net.named_parameters() if not parameter.numel()]
    if empty or not any(True for _ in net.parameters()):
        given = ", ".join(f"{key}={value}" for key, value in arguments.items()) or "no arguments"
        where = f"a layer that is zero wide ({empty[0]})" if empty else "no weights at all"
        raise BadInput(f"{name!r} with {foreign(given, 200)} has {where}; give larger numbers")


def _hints(declared: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(declared)
    except (NameError, TypeError, AttributeError):  # names that only a type checker knows
        return {}


def _kinds(hint: Any, default: Any) -> tuple[type, ...]:
    """The plain kinds that are wanted, () where others are or nothing is known."""
    if hint is not None:
        union = typing.get_origin(hint) in (typing.Union, UnionType)
        members = typing.get_args(hint) if union else (hint,)
        return tuple(members) if all(one in _SIMPLE for one in members) else ()
    if isinstance(default, bool | str):
        return (type(default),)
    return (float,) if isinstance(default, int | float) else ()


def _check_kind(name: str, key: str, value: Any, kinds: tuple[type, ...]) -> None:
    if not kinds or type(value) in kinds or (type(value) is int and float in kinds):
        return
    wanted = " or ".join(_CALLED[kind] for kind in kinds)
    raise BadInput(f"{key}={foreign(str(value), 80)} of model {name!r}: wanted {wanted}")


def _check_range(name: str, key: str, value: Any, default: Any) -> None:
    numbers = [type(one) in (int, float) for one in (value, default)]
    if not all(numbers) or default < 0:
        return
    if value < 0 or (value == 0 and default >= 1):
        least = "above 0" if default >= 1 else "of 0 or more"
        raise BadInput(
            f"{key}={value} of model {name!r}: wanted a number {least}; its default is {default}"
        )
