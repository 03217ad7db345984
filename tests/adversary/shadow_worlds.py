"""A task that a tiny network learns in a second, cut in three, and its server's bodies."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import nn
from worlds import INPUT, images

from adversary.contract.threat import AuxImages, ThreatModel
from adversary.inversion.shadow.attack import Shadow
from splitlab.contracts import ArchSpec, FeatureSpec
from splitlab.data import ImageSet
from splitlab.models import build
from splitlab.split import Parts, cut
from splitlab.training import TrainRecipe, train_classifier

ARCH = ArchSpec(name="tiny_cnn", classes=3, input=INPUT)
HEAD_END, TAIL_START = "block1", "pool"
FEATURE = FeatureSpec(shape=(8, 16, 16))


def coloured(count: int, seed: int) -> ImageSet:
    """Smooth images whose class is their strongest colour."""
    plain = images(count, seed)
    labels = plain.images.float().mean((2, 3)).argmax(1)
    return replace(plain, labels=labels, classes=("red", "green", "blue"))


AUX = AuxImages(coloured(240, 1), coloured(90, 2), "same distribution")
VICTIMS = coloured(16, 3)


@cache
def victim() -> Parts:
    """Head, body and tail of a trained network."""
    net = build(ARCH, seed=0)
    recipe = TrainRecipe(epochs=6, learning_rate=0.1)
    train_classifier(net, coloured(240, 4), recipe, seed=0, device="cpu")
    return cut(net, HEAD_END, TAIL_START, INPUT.shape)


def stranger(seed: int) -> nn.Module:
    """A body that was never trained."""
    return cut(build(ARCH, seed=seed), HEAD_END, TAIL_START, INPUT.shape).body


def granted(*bodies: nn.Module, **more: Any) -> ThreatModel:
    """What every server knows, with these bodies; the trained one where none is named."""
    fields: dict[str, Any] = {
        "feature": FEATURE,
        "input": INPUT,
        "arch": ARCH,
        "head_end": HEAD_END,
        "tail_start": TAIL_START,
        "aux": AUX,
        "bodies": nn.ModuleList(bodies or [victim().body]),
    }
    return ThreatModel(**{**fields, **more})


def sent() -> torch.Tensor:
    """What the victims' client sent."""
    with torch.inference_mode():
        return victim().head(VICTIMS.floats()).clone()


def quick(**options: Any) -> Shadow:
    """Small and short, unless told otherwise."""
    return Shadow.configured(
        {"channels": 8, "epochs": 1, "decoder_epochs": 0, "bodies": "0", **options}
    )
