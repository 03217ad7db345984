"""A small deployment on disk: three bodies, of which the client uses the third and the first."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from tables import SIZE, distinct

import defenses
from splitlab.contracts import ArchSpec, InputSpec
from splitlab.data import Splits
from splitlab.deployment import ClientHalf, Halves, Selector, write_deployment
from splitlab.models import build
from splitlab.randomness import Secret
from splitlab.split import Part, cut, widen

ARCH = ArchSpec(name="tiny_cnn", classes=3, input=InputSpec(size=SIZE))
SHAPE = (8, 16, 16)
CHOSEN = (2, 0)


@cache
def parts_of(seed: int) -> Any:
    """An untrained network in three parts, its statistics other than their defaults; to be read."""
    net = build(ARCH, seed=seed).eval()
    source = torch.Generator().manual_seed(seed)
    for key, value in net.state_dict().items():
        if key.endswith(("running_var", "running_mean")):
            value.copy_(0.1 + 0.2 * torch.rand(value.shape, generator=source))
    return cut(net, "block1", "pool", ARCH.input.shape)


def halves(defense: str = "none", secret: Secret | None = None, learned: float = 0.0) -> Halves:
    """Head, bodies and tail of three untrained networks.

    Args:
        learned: what stands in every learned noise tensor.
    """
    first = parts_of(0)
    bodies: tuple[Part, ...] = tuple(parts_of(seed).body for seed in (1, 2, 3))
    protectors = defenses.parse(defense).protectors(SHAPE, secret or Secret.new(7))
    for protector in protectors:
        if type(protector).__name__ == "LearnedNoise":
            for buffer in protector.buffers():
                buffer.fill_(learned)
    return Halves(
        arch=ARCH,
        head_end="block1",
        tail_start="pool",
        head=first.head,
        bodies=bodies,
        tail=widen(first.tail, len(CHOSEN)),
        protectors=protectors,
        selector=Selector(3, CHOSEN),
    )


def deployed(
    folder: Path,
    defense: str = "none",
    wire: Any = "FP32",
    secret: Secret | None = None,
    learned: float = 0.0,
    victims_hash: str = "",
    folders: dict[str, int] | None = None,
    classes: tuple[str, ...] = ("a", "b", "c"),
) -> Path:
    """Write the deployment under `folder` and return it."""
    secret = secret or Secret.new(7)
    write_deployment(
        folder,
        halves(defense, secret, learned),
        defended=defenses.parse(defense),
        secret=secret,
        classes=classes,
        folders=folders,
        wire=wire,
        victims_hash=victims_hash,
    )
    return folder


def client_of(folder: Path) -> ClientHalf:
    return ClientHalf.load(folder / "client", defenses.parse)


def splits() -> Splits:
    """40 images in all: training 8, auxiliary 20, validation 6, victims 6."""
    return Splits(
        train=distinct(8, 1),
        auxiliary=distinct(20, 2),
        validation=distinct(6, 3),
        victims=distinct(6, 4),
    )
