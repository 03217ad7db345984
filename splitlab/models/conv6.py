"""The six-convolution CIFAR network of He et al. 2019, "Model Inversion Attacks Against
Collaborative Inference" (ACSAC '19); child names as in the authors' code."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from splitlab.contracts import InputSpec
from splitlab.errors import BadInput


def conv6(*, classes: int, spec: InputSpec) -> nn.Module:
    """Pairs of 3x3 convolutions of 64, 128 and 128 channels, each pair pooled; two linear layers.

    The paper cuts it after `ReLU11`, `ReLU22` and `ReLU32`. 1.6 M parameters at 32 px.

    Raises:
        BadInput: an image side that three poolings do not divide.
    """
    if spec.size % 8:
        raise BadInput(f"input.size={spec.size}: three poolings need a multiple of 8 pixels")
    side = spec.size // 8
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    before = spec.channels
    for stage, width in enumerate((64, 128, 128), start=1):
        for half in (1, 2):
            layers[f"conv{stage}{half}"] = nn.Conv2d(before, width, 3, padding=1)
            layers[f"ReLU{stage}{half}"] = nn.ReLU()
            before = width
        layers[f"pool{stage}"] = nn.MaxPool2d(2)
    layers["flatten"] = nn.Flatten()
    layers["fc1"] = nn.Linear(before * side * side, 512)
    layers["fc1act"] = nn.Sigmoid()
    layers["fc2"] = nn.Linear(512, classes)
    return nn.Sequential(layers)
