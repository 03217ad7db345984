"""Which modules count as named blocks, from how a network is put together."""

from __future__ import annotations

from torch import nn

from splitlab.split.recorder import is_leaf

_PLAIN = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def block_paths(net: nn.Module) -> list[str]:
    """Paths of all named blocks: the children of containers, from the root down.

    A container is the network itself; a plain Sequential, ModuleList or ModuleDict; a class derived
    from these whose children are all of one class of composite modules; or any module with a plain
    list of two or more such children among its own (a stage, an encoder).
    """
    found: list[str] = []
    pending = [("", net)]
    while pending:
        path, module = pending.pop()
        inner = []
        for name, child in module.named_children():
            full = f"{path}.{name}" if path else name
            found.append(full)
            if is_container(child):
                inner.append((full, child))
        pending += reversed(inner)
    return found


def is_container(module: nn.Module) -> bool:
    """Whether the children of `module` are named blocks of their own."""
    if type(module) in _PLAIN:
        return True
    if isinstance(module, _PLAIN):
        return _uniform(module)
    # One child alone says nothing: it may as well be the projection of a residual block.
    return any(
        type(child) in _PLAIN and len(list(child.children())) > 1 and _uniform(child)
        for child in module.children()
    )


def _uniform(module: nn.Module) -> bool:
    """Whether all children are of one class, and that class is put together from others."""
    kinds = {type(child) for child in module.children()}
    return len(kinds) == 1 and not any(is_leaf(child) for child in module.children())
