"""Networks of a few layers, of torchvision's own blocks: what a large one has, in a tenth second.

They are known by name where `known` is used, in one process alone.
"""

from __future__ import annotations

from functools import partial

import pytest
from torch import nn
from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3
from torchvision.models.squeezenet import SqueezeNet

from splitlab.contracts import InputSpec
from splitlab.models.build import MODELS

CUTS = {"small_fire": ("features.0", "features.3"), "small_inverted": ("features.0", "features.2")}
"""Network -> where its head ends, and its body where there is a tail."""


def small_fire(*, classes: int, spec: InputSpec) -> nn.Module:
    """SqueezeNet with one fire module: branches, no BatchNorm, a convolution that classifies."""
    assert spec.channels == 3
    net = SqueezeNet("1_1", num_classes=classes)
    net.features = net.features[:4]
    net.classifier[1] = nn.Conv2d(128, classes, 1)
    return net


def small_inverted(*, classes: int, spec: InputSpec) -> nn.Module:
    """MobileNetV3 with one block: depthwise, squeeze and excitation, hard swish, two linears."""
    assert spec.channels == 3
    block = partial(InvertedResidualConfig, width_mult=1.0)
    return MobileNetV3([block(16, 3, 24, 16, True, "HS", 2, 1)], 32, num_classes=classes)


def known(patch: pytest.MonkeyPatch) -> None:
    """Let `--model` name them."""
    for name in CUTS:
        patch.setitem(MODELS._entries, name, f"{__name__}:{name}")
