"""From a trained network and a split point to two halves on disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from torch import nn

import defenses
from splitlab.contracts import ArchSpec
from splitlab.deployment import ClientHalf, Halves, Selector, ServerHalf, write_deployment
from splitlab.deployment.manifest import WireType
from splitlab.errors import SplitLabError
from splitlab.models import Normalised
from splitlab.randomness import Secret
from splitlab.split import cut


def deploy(
    folder: Path,
    net: Normalised,
    arch: ArchSpec,
    *,
    head_end: str,
    tail_start: str | None = None,
    defense: str = "none",
    wire: WireType = "FP32",
    classes: tuple[str, ...],
    secret: Secret,
    protectors: nn.ModuleList | None = None,
    victims_hash: str = "",
) -> str:
    """Cut `net` and write `folder/client` and `folder/server`; returns the digest.

    Args:
        defense: text that `defenses.parse` reads, e.g. "gaussian:level=0.1,draw=fixed".
        secret: the client's; draws the fixed noise and keys the fresh one.
        protectors: trained along with the network; made from `secret` where None.
        victims_hash: hash of the images that are kept for attacks.

    Raises:
        UnknownName, NotCuttable: no such defence or split point.
        BadInput: `folder` holds a deployment.
    """
    stack = defenses.parse(defense)
    parts = cut(net, head_end, tail_start, arch.input.shape)
    if protectors is None:
        protectors = stack.protectors(feature_shape(parts.head, arch), secret)
    halves = Halves(
        arch=arch,
        head_end=head_end,
        tail_start=tail_start,
        head=parts.head,
        bodies=(parts.body,),
        tail=parts.tail,
        protectors=protectors,
        selector=Selector(1, (0,)),
    )
    return write_deployment(
        folder,
        halves,
        defended=stack,
        secret=secret,
        classes=classes,
        wire=wire,
        victims_hash=victims_hash,
    )


def feature_shape(head: nn.Module, arch: ArchSpec) -> tuple[int, ...]:
    """Shape of one feature, by running one blank image."""
    import torch

    with torch.inference_mode():
        return tuple(head(torch.zeros(1, *arch.input.shape)).shape[1:])


def whole(folder: Path) -> bool:
    """Whether `folder` holds two halves that load and belong together; what does not is removed.

    For runs that continue after a kill: a half-written deployment is made again.
    """
    try:
        client = ClientHalf.load(folder / "client", defenses.parse)
        server = ServerHalf.load(folder / "server")
        if client.digest == server.digest:
            return True
    except SplitLabError:
        pass
    shutil.rmtree(folder, ignore_errors=True)
    return False
