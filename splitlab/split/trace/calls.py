"""A call that PyTorch reports, written down so that a graph can repeat it without side effects."""

from __future__ import annotations

import inspect
import operator
import sys
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
    if getattr(Tensor, name, None) is func or (hasattr(Tensor, name) and not _importable(func)):
        return Call("call_method", name, args, kwargs, name.strip("_"))
    return Call("call_function", func, args, kwargs, name.strip("_"))


def _importable(func: Any) -> bool:
    """Whether generated code can name `func`; PyTorch's operators on tensors are bare closures."""
    home = sys.modules.get(getattr(func, "__module__", None) or "torch")
    return getattr(home, func.__name__, None) is func


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
    return Call("call_function", write_through, (args[0], (), name, *args[1:]), kwargs, bare)


def writing_through(
    root: Any, views: list[Call], func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Call | None:
    """`func`, which writes into a view of `root`, as a call that makes another `root`.

    Args:
        root: what stands for it in arguments.
        views: the calls that lead from the root to the view, in order.

    Returns:
        None where a step of the way or `func` itself is no method of a tensor.
    """
    methods = [_as_method(view) for view in views]
    name = func.__name__
    if None in methods or getattr(Tensor, name, None) is None:
        return None
    given = (root, tuple(methods), name, *args[1:])
    return Call("call_function", write_through, given, kwargs, name.strip("_"))


def write_through(root: Tensor, views: Any, method: str, *args: Any, **kwargs: Any) -> Tensor:
    """A copy of `root`, of the same shape, after a view of it was written to.

    Args:
        root: any tensor; left as it is.
        views: (method, arguments, keyword arguments) in turn, from the root to the view.
        method: of the view; writes in place, with `args` and `kwargs`.
    """
    changed = root.clone()
    view: Any = changed
    for name, given, named in views:
        view = getattr(view, name)(*given, **named)
    getattr(view, method)(*args, **kwargs)
    return changed


def _as_method(call: Call) -> tuple[str, tuple[Any, ...], dict[str, Any]] | None:
    """(method, arguments, keyword arguments) of a call on its first argument, if it is one."""
    if call.op == "call_method":
        return call.target, call.args[1:], call.kwargs
    if call.op == "call_function" and call.target is getattr:
        return "__getattribute__", call.args[1:], {}
    for name in (
        f"__{getattr(call.target, '__name__', '')}__",
        getattr(call.target, "__name__", ""),
    ):
        if call.op == "call_function" and hasattr(Tensor, name):
            return name, call.args[1:], call.kwargs
    return None


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
