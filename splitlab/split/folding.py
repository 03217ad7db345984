"""Fold BatchNorm into the convolution before it, in every torch.fx graph inside a module, and merge
parallel convolutions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from splitlab.split.branches import hooked, merge_branches

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@torch.inference_mode(False)
def fold_batch_norm(module: nn.Module) -> nn.Module:
    """Change `module` (in eval mode) in place and return it; without a graph it stays as it is.

    A pair is folded where the convolution feeds nothing but the norm and both are called once;
    then branches are merged as `merge_branches` says.
    """
    for part in list(module.modules()):
        if isinstance(part, torch.fx.GraphModule):
            _fold_graph(part)
            merge_branches(part)
    return module


def _fold_graph(part: torch.fx.GraphModule) -> None:
    calls: dict[str, int] = {}
    for node in part.graph.nodes:
        if node.op == "call_module":
            calls[node.target] = calls.get(node.target, 0) + 1
    changed = False
    for node in list(part.graph.nodes):
        pair = _foldable(part, node, calls)
        if pair is None:
            continue
        before, conv, norm = pair
        _replace(part, before.target, fuse_conv_bn_eval(conv, norm))
        node.replace_all_uses_with(before)
        part.graph.erase_node(node)
        changed = True
    if changed:
        part.graph.lint()
        part.recompile()


def _foldable(
    part: torch.fx.GraphModule, node: torch.fx.Node, calls: dict[str, int]
) -> tuple[Any, Any, Any] | None:
    if node.op != "call_module" or len(node.args) != 1 or node.kwargs:
        return None
    before = node.args[0]
    if not isinstance(before, torch.fx.Node) or before.op != "call_module":
        return None
    conv, norm = part.get_submodule(str(before.target)), part.get_submodule(str(node.target))
    if hooked(conv) or hooked(norm):
        return None
    kinds = type(conv) in CONVOLUTIONS and type(norm) in NORMS
    if not kinds or conv.training or norm.training or getattr(norm, "running_var", None) is None:
        return None
    once = calls[str(before.target)] == 1 and calls[str(node.target)] == 1
    return (before, conv, norm) if once and len(before.users) == 1 else None


def _replace(part: torch.fx.GraphModule, target: str, new: nn.Module) -> None:
    parent, _, name = target.rpartition(".")
    setattr(part.get_submodule(parent), name, new)
