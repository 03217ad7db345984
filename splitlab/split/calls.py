"""A call that PyTorch reports, written down so that a graph can repeat it without side effects."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from splitlab.errors import NotCuttable


@dataclass(frozen=True)
class Call:
    """One operation in torch.fx's terms.

    Args:
        op: "call_function", "call_method" or "call_module".
        target: a function, or the name of a method or module.
        label: what the operation is called in names of split points.
    """

    op: str
    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    label: str


def pure_call(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    """`func(*args, **kwargs)` as it is; `func` writes into none of its arguments."""
    name = func.__name__
    if name == "__get__":
        attribute = func.__self__.__name__
        return Call("call_function", getattr, (args[0], attribute), {}, attribute)
    if name.startswith("__"):
        core = name[2:-2]
        if hasattr(operator, name):
            return Call("call_function", getattr(operator, name), args, kwargs, core)
        if core.startswith("r") and hasattr(operator, f"__{core[1:]}__"):
            swapped = (args[1], args[0])
            plain = getattr(operator, f"__{core[1:]}__")
            return Call("call_function", plain, swapped, kwargs, core[1:])
    if getattr(Tensor, name, None) is func:
        return Call("call_method", name, args, kwargs, name.strip("_"))
    return Call("call_function", func, args, kwargs, name.strip("_"))


def writing_call(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], written: Tensor, where: str
) -> Call:
    """`func(*args, **kwargs)`, which writes into `written`, as a call that makes a new tensor.

    Raises:
        NotCuttable: something else than its first argument is written.
    """
    name = func.__name__
    if kwargs.get("out") is written:
        rest = {key: value for key, value in kwargs.items() if key != "out"}
        return pure_call(func, args, rest)
    if not args or args[0] is not written:
        raise NotCuttable(f"{where}: {name} writes into a tensor that is not its first argument")
    quiet = _without_inplace(func, args, kwargs)
    if quiet is not None:
        return pure_call(func, *quiet)
    if name.startswith("__i") and hasattr(operator, f"__{name[3:]}"):
        plain = getattr(operator, f"__{name[3:]}")
        return Call("call_function", plain, args, kwargs, name[3:-2])
    bare = name.strip("_")
    if name.endswith("_") and not name.startswith("_"):
        if hasattr(Tensor, bare):
            return Call("call_method", bare, args, kwargs, bare)
        if hasattr(torch, bare):
            return Call("call_function", getattr(torch, bare), args, kwargs, bare)
    if getattr(Tensor, name, None) is None:
        raise NotCuttable(f"{where}: {name} writes in place and has no twin that does not")
    return Call("call_function", on_copy, (name, *args), kwargs, bare)


def on_copy(method: str, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """A copy of `tensor`, of the same shape, after its in-place `method` was called on it."""
    changed = tensor.clone()
    getattr(changed, method)(*args, **kwargs)
    return changed


def _without_inplace(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """The arguments with the flag `inplace` off, or None where there is no such flag."""
    if kwargs.get("inplace") is True:
        return args, {**kwargs, "inplace": False}
    try:
        names = list(inspect.signature(func).parameters)
    except (TypeError, ValueError):
        return None
    if "inplace" not in names:
        return None
    place = names.index("inplace")
    if place < len(args) and args[place] is True:
        return (*args[:place], False, *args[place + 1 :]), kwargs
    return None
