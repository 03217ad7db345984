"""Where a defence acts on a network while it is trained: watched, protected and frozen modules."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from splitlab.errors import NotCuttable
from splitlab.randomness import Draw


class Protection(NamedTuple):
    """A defence's protectors, acting at a split point while the network is trained.

    Args:
        point: name of the split point, which must be a module (a named block); the end of the
            head for what acts on z, that of the body for what acts on its output.
        protector: one `Protector`, or a `ModuleList` of them in order; trained along where it has
            parameters.
        draw: fresh randomness; None for the loop's own, which a resumed run repeats.
    """

    point: str
    protector: nn.Module
    draw: Draw | None = None


def freeze(net: nn.Module, frozen: Collection[str], resting: Collection[str]) -> None:
    """Parameters in `frozen` do not learn, nor statistics there change; modules in `resting` rest.

    Args:
        frozen: names in the state dict of `net`.
        resting: paths of modules of `net`, each without those inside it.
    """
    for path in resting:
        net.get_submodule(path).training = False
    for name, parameter in net.named_parameters(remove_duplicate=False):
        if name in frozen:
            parameter.requires_grad_(False)
    for name, _ in net.named_buffers():
        if name in frozen:
            net.get_submodule(name.rpartition(".")[0]).eval()


def inner(net: nn.Module) -> nn.Module:
    """The network without the normalisation around it, so that names are those of its library."""
    return net.get_submodule("net") if isinstance(getattr(net, "net", None), nn.Module) else net


def module_of(net: nn.Module, name: str) -> nn.Module:
    """The module `name` of the network.

    Raises:
        NotCuttable: it has none of that name.
    """
    try:
        return inner(net).get_submodule(name)
    except AttributeError as error:
        raise NotCuttable(
            f"{name!r} is no module of the network, and defences act on modules during training; "
            "choose a named block (`bench splits MODEL` lists them)"
        ) from error


def watching(net: nn.Module, name: str, seen: dict[str, Tensor]) -> RemovableHandle:
    """From now on the output of the module `name` is put into `seen`, before any protection."""

    def keep(_module: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> None:
        seen[name] = output

    return module_of(net, name).register_forward_hook(keep)


def protections(
    given: Protection | tuple[Any, ...] | Sequence[Protection] | None,
) -> list[Protection]:
    """One, several or none as a list; a lone one begins with the name of its point."""
    if given is None:
        return []
    if isinstance(given, tuple) and given and isinstance(given[0], str):
        return [Protection(*given)]
    return [Protection(*one) for one in given]


def protecting(net: nn.Module, point: str, protector: nn.Module, draw: Draw) -> RemovableHandle:
    """From now on the output of the module `point` is what `protector` makes of it."""
    chain = list(protector) if isinstance(protector, nn.ModuleList) else [protector]

    def replace(_module: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        for one in chain:
            output = one(output, draw)
        return output

    return module_of(net, point).register_forward_hook(replace)
