"""`torch.autocast` that a network enters by itself: noted and entered again at each operation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

Autocast = tuple[tuple[str, torch.dtype], ...]
"""(device type, dtype) of each kind of device for which it is on."""

_KINDS = ("cpu", "cuda")


def autocast_now() -> Autocast:
    """What is on at this moment, in this thread."""
    return tuple(
        (kind, torch.get_autocast_dtype(kind)) for kind in _KINDS if torch.is_autocast_enabled(kind)
    )


@contextmanager
def autocast_off() -> Iterator[None]:
    """Off for every kind of device, whatever is around."""
    before = {kind: torch.is_autocast_enabled(kind) for kind in _KINDS}
    for kind in _KINDS:
        torch.set_autocast_enabled(kind, False)
    try:
        yield
    finally:
        for kind, on in before.items():
            torch.set_autocast_enabled(kind, on)


class Within(nn.Module):
    """One operation under autocast.

    Args:
        autocast: what was on where the network did it.
        run: a module, a function, or the name of a method of the first argument.
    """

    def __init__(self, autocast: Autocast, run: nn.Module | Callable[..., Any] | str) -> None:
        super().__init__()
        self.autocast, self.run = autocast, run

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with ExitStack() as stack:
            for kind, dtype in self.autocast:
                stack.enter_context(torch.autocast(kind, dtype=dtype, cache_enabled=False))
            if isinstance(self.run, str):
                return getattr(args[0], self.run)(*args[1:], **kwargs)
            return self.run(*args, **kwargs)
