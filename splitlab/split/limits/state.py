"""What a network keeps in Python from one call to the next, as data that can be compared."""

from __future__ import annotations

import random
import sys
from collections import deque
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from splitlab.errors import NotCuttable

_OWN = frozenset(vars(nn.Module()))
# No class of these keeps what a user wrote.
_LIBRARIES = ("torch.", "torchvision.", "timm.", "builtins", "collections", "splitlab.")
# What hooks collect in lists; a tensor of an earlier call is noticed where it is used.
_LOGGED = (Tensor, torch.Size)
_DEEP, _MANY, _SMALL = 5, 1000, 16


def kept_state(net: nn.Module) -> dict[str, Any]:
    """Every number, text, flag, container and small tensor that a module or its class holds.

    Large tensors count by shape, and those without numbers too; tensors and shapes in lists do not.

    Returns:
        "module path.attribute" -> data that compares with `==`.
    """
    found: dict[str, Any] = {}
    kinds: set[type] = set()
    for path, module in net.named_modules():
        kinds.update(type(module).__mro__)
        for name in ("_forward_pre_hooks", "_forward_hooks"):
            hooks = list(vars(module)[name].values())
            if hooks:
                found[f"{path}.{name}".removeprefix("net.").lstrip(".")] = _plain(hooks, _DEEP)
        if type(module).__module__.startswith("torch.nn.modules."):
            continue
        for name, value in (*vars(module).items(), *module._buffers.items()):
            if name not in _OWN:
                found[f"{path}.{name}".removeprefix("net.").lstrip(".")] = _plain(value, _DEEP)
    for kind in kinds:
        found |= _of_class(kind)
    return found


def first_change(before: dict[str, Any], after: dict[str, Any]) -> str | None:
    """The name of something that `after` holds otherwise, or None."""
    for name in (*before, *after):
        if name not in before or name not in after or before[name] != after[name]:
            return name
    return None


class UntouchedDraws:
    """Around a run: Python's and NumPy's random numbers are put back as they were.

    Raises:
        NotCuttable: the run drew some.
    """

    def __enter__(self) -> None:
        self._python, self._numpy = random.getstate(), _numpy_state()

    def __exit__(self, kind: Any, *_: Any) -> None:
        python, numpy = random.getstate(), _numpy_state()
        random.setstate(self._python)
        if self._numpy is not None and "numpy" in sys.modules:
            sys.modules["numpy"].random.set_state(self._numpy)
        drew = python != self._python or _as_bytes(numpy) != _as_bytes(self._numpy)
        if drew and kind is None:
            raise NotCuttable(
                "it draws random numbers in Python or NumPy, which a part would not draw again; "
                "draw them with torch"
            )


def _numpy_state() -> Any:
    numpy = sys.modules.get("numpy")
    return None if numpy is None else numpy.random.get_state()


def _as_bytes(state: Any) -> Any:
    """A state of NumPy's, comparable."""
    return None if state is None else (state[0], state[1].tobytes(), *state[2:])


def _of_class(kind: type) -> dict[str, Any]:
    """Attributes of a user's class, and globals of its module, that are plain data."""
    home = f"{kind.__module__}."
    if home.startswith(_LIBRARIES):
        return {}
    found = {
        f"{kind.__qualname__}.{name}": _plain(value, _DEEP)
        for name, value in vars(kind).items()
        if not name.startswith("__") and not callable(value)
    }
    forward = vars(kind).get("forward")
    if isinstance(forward, FunctionType):
        found[f"{kind.__qualname__}.forward"] = _plain(forward, _DEEP)
    place = sys.modules.get(kind.__module__)
    for name, value in (vars(place) if place is not None else {}).items():
        if not name.startswith("__") and isinstance(value, (int, float, list, dict, set, deque)):
            found[f"{kind.__module__}.{name}"] = _plain(value, 2)
    return found


def _plain(value: Any, deep: int) -> Any:
    if isinstance(value, bool) or value is None or isinstance(value, (str, bytes, complex)):
        return value
    if isinstance(value, (int, float)):
        return int(value) if isinstance(value, int) else float(value)
    if isinstance(value, Tensor):
        return _of_tensor(value)
    if deep == 0 or isinstance(value, (nn.Module, type)):
        return type(value).__name__
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        items = list(value)[:_MANY]
        return [_plain(item, deep - 1) for item in items if not isinstance(item, _LOGGED)]
    if isinstance(value, dict):
        pairs = list(value.items())[:_MANY]
        return [(_plain(k, deep - 1), _plain(v, deep - 1)) for k, v in pairs]
    return _of_object(value, deep)


def _of_tensor(tensor: Tensor) -> Any:
    if tensor.is_meta or tensor.numel() > _SMALL or tensor.layout != torch.strided:
        writes = 0 if tensor.is_inference() else tensor._version
        return (tuple(tensor.shape), str(tensor.dtype), writes)
    return (tensor.tolist(), str(tensor.dtype))


def _of_object(value: Any, deep: int) -> Any:
    home = type(value).__module__
    if isinstance(value, random.Random):
        return hash(value.getstate())
    if isinstance(value, torch.Generator):
        return value.get_state().tolist()
    if home == "itertools":
        return repr(value)
    if home.startswith("numpy.random"):
        bits = getattr(value, "bit_generator", value)
        return repr(getattr(bits, "state", "") or value.get_state())
    if isinstance(value, (FunctionType, MethodType)):
        function = value.__func__ if isinstance(value, MethodType) else value
        cells = [cell.cell_contents for cell in function.__closure__ or () if _filled(cell)]
        return [_plain(one, min(deep, 2) - 1) for one in (*cells, *(function.__defaults__ or ()))]
    if callable(value) and not hasattr(value, "__dict__"):
        return type(value).__name__
    held = getattr(value, "__dict__", None)
    return type(value).__name__ if held is None else (_plain(dict(held), deep - 1))


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
