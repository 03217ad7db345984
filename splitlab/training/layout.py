"""How tensors lie in memory while modules train: channels last, which convolutions prefer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

FRAGILE_CHANNELS = range(2, 8)


@contextmanager
def channels_last(modules: Iterable[nn.Module], device: torch.device) -> Iterator[None]:
    """Modules on `device`, channels last within and contiguous after.

    Where a module has a strided 1x1 convolution of 2 to 7 channels, torch's CPU kernels write past
    their memory for its weights' gradient if it lies channels last. Such a module keeps its layout,
    and what those convolutions are fed is made contiguous.
    """
    held, hooks = list(modules), []
    for module in held:
        found = fragile(module) if device.type == "cpu" else []
        module.to(device)
        if not found:
            module.to(memory_format=torch.channels_last)
        hooks += [conv.register_forward_pre_hook(_contiguous) for conv in found]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module in held:
            module.to(memory_format=torch.contiguous_format)


def fragile(module: nn.Module) -> list[nn.Conv2d]:
    """Its convolutions that must not be trained channels last on a CPU."""
    return [
        part
        for part in module.modules()
        if isinstance(part, nn.Conv2d)
        and part.kernel_size == (1, 1)
        and part.stride != (1, 1)
        and part.in_channels // part.groups in FRAGILE_CHANNELS
    ]


def _contiguous(_module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(value.contiguous() for value in given)
