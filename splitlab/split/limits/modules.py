"""Kinds of modules and tensors whose work cannot be followed, each with its reason."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn
from torch.nn.modules import module as torch_module
from torch.nn.modules.lazy import LazyModuleMixin

from splitlab.errors import NotCuttable

_QUANTISED = (
    "torch.ao.nn.quantized",
    "torch.ao.nn.intrinsic.quantized",
    "torch.ao.nn.sparse.quantized",
    "torchao.",
)

_LIBRARIES = ("torch.", "torchvision.", "timm.", "splitlab.")


def refuse_modules(net: nn.Module) -> None:
    """
    Raises:
        NotCuttable: a module, parameter or buffer of `net` is of a kind that cannot be followed.
    """
    if torch_module._global_forward_hooks or torch_module._global_forward_pre_hooks:
        raise NotCuttable(
            "hooks on every module of this process are set (register_module_forward_hook), which "
            "are no part of the network; remove them first"
        )
    for path, module in net.named_modules():
        reason = _reason(module)
        if reason is not None:
            shown = _shown(path) or "the network"
            raise NotCuttable(f"{shown} ({type(module).__name__}) is {reason}")
    for name, tensor in (*net.named_parameters(), *net.named_buffers()):
        reason = _of_tensor(tensor)
        if reason is not None:
            raise NotCuttable(f"{_shown(name)} is {reason}; give the network with plain tensors")


def refuse_training(copy: nn.Module) -> None:
    """
    Raises:
        NotCuttable: a module of `copy`, on which eval() was called, is in train mode still.
    """
    for path, module in copy.named_modules():
        if module.training:
            raise NotCuttable(
                f"{_shown(path) or 'the network'} stays in train mode after eval(), and its parts "
                "would not; let its train() follow the mode that it is given"
            )


def unfollowed(tensor: Tensor) -> str:
    """The message about a tensor that appears from nowhere, by what it is."""
    kind = type(tensor)
    if kind not in (Tensor, nn.Parameter):
        return (
            f"the network makes a {kind.__name__}, a subclass of torch.Tensor, whose making cannot "
            "be followed; let it use plain tensors inside"
        )
    return (
        "the network uses a tensor whose making cannot be followed (a scripted or compiled "
        "function, or one outside of torch); such a network cannot be cut"
    )


def library_alone(net: nn.Module) -> bool:
    """Whether every module of `net` is a library's or the lab's own, with nothing hooked on."""
    return all(
        type(module).__module__.startswith(_LIBRARIES)
        and not (module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))
        for module in net.modules()
    )


def _shown(path: str) -> str:
    return path.removeprefix("net.") if path != "net" else ""


def _reason(module: nn.Module) -> str | None:
    home = type(module).__module__
    if isinstance(module, torch.jit.ScriptModule):
        return (
            "scripted (torch.jit.script or trace), and what it does inside cannot be followed; "
            "give the network as it was before, and script it later"
        )
    if home.startswith("torch._dynamo"):
        return (
            "compiled (torch.compile), and what it does inside cannot be followed; give the module "
            "that was compiled (its `_orig_mod`)"
        )
    if home.startswith(_QUANTISED):
        return (
            "quantised, and its packed weights are in no state dict of tensors; give the network "
            "in FP32 and let the server choose an INT8 engine or the wire INT8"
        )
    if isinstance(module, fx.GraphModule) and "inline_constraints" in getattr(module, "meta", {}):
        return (
            "an exported program (torch.export), made for the inputs that it was exported with; "
            "give the network that was exported"
        )
    if isinstance(module, LazyModuleMixin) and module.has_uninitialized_params():
        return "lazy and has no weights yet; run the network once on an image first"
    return None


def _of_tensor(tensor: Tensor) -> str | None:
    if tensor.layout != torch.strided:
        return f"sparse ({tensor.layout})"
    if tensor.is_quantized:
        return "quantised"
    if type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        return f"a {type(tensor).__name__}, a tensor with rules of its own"
    return None
