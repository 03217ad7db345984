"""Which modules count as named blocks, from how a network is put together."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from splitlab.split.trace.recorder import is_leaf

_PLAIN = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def block_paths(net: nn.Module, ends: Mapping[str, int]) -> set[str]:
    """Paths of all named blocks: the children of containers, from the root down.

    A container is the network itself; a plain Sequential, ModuleList or ModuleDict; a class derived
    from these whose children are all of one class of composite modules; or any module whose
    children, or a plain list of its own, are so uniform and inside which the network can be cut (a
    stage, an encoder; not the branch of a residual block).

    Args:
        net: the network.
        ends: module path -> step, for every module at whose end the network can be cut.
    """
    found: set[str] = set()
    pending = [("", net)]
    while pending:
        path, module = pending.pop()
        for name, child in module.named_children():
            full = f"{path}.{name}" if path else name
            found.add(full)
            if _is_container(full, child, ends):
                pending.append((full, child))
    return found


def _is_container(path: str, module: nn.Module, ends: Mapping[str, int]) -> bool:
    if type(module) in _PLAIN:
        return True
    if isinstance(module, _PLAIN):
        return _uniform(module)
    inner = [f"{path}.{name}" for name, _ in module.named_children()] if _uniform(module) else []
    inner += [
        f"{path}.{name}.{item}"
        for name, child in module.named_children()
        if type(child) in _PLAIN and _uniform(child)
        for item, _ in child.named_children()
    ]
    return any(one in ends and ends[one] != ends.get(path) for one in inner)


def _uniform(module: nn.Module) -> bool:
    """Whether all children are of one class, and that class is put together from others."""
    kinds = {type(child) for child in module.children()}
    return len(kinds) == 1 and not any(is_leaf(child) for child in module.children())
