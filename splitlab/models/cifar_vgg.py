"""VGG with batch normalisation for 32x32: Simonyan & Zisserman 2014 (arXiv:1409.1556), table 1.

One linear classifier after five poolings, as is usual on CIFAR.
"""

from __future__ import annotations

from torch import Tensor, nn

from splitlab.contracts import InputSpec
from splitlab.errors import BadInput

# Channels of the 3x3 convolutions; 0 is a 2x2 max pooling. Columns A and D of the table.
_COLUMN_A = (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0)
_COLUMN_D = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)


class CifarVGG(nn.Module):
    """`features`: convolution, batch normalisation, ReLU, pooling; `classifier`: one linear."""

    def __init__(self, column: tuple[int, ...], classes: int, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in column:
            if width == 0:
                layers.append(nn.MaxPool2d(2))
            else:
                convolution = nn.Conv2d(channels, width, 3, padding=1)
                layers += [convolution, nn.BatchNorm2d(width), nn.ReLU()]
                channels = width
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] with H, W >= 32 -> logits [B, classes]."""
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def vgg11_cifar(*, classes: int, spec: InputSpec, thinner: int = 1) -> nn.Module:
    """Column A; 9.2 M parameters for 10 classes. `thinner` divides every number of channels."""
    return CifarVGG(_thin(_COLUMN_A, thinner), classes, _wide_enough(spec))


def vgg16_cifar(*, classes: int, spec: InputSpec, thinner: int = 1) -> nn.Module:
    """Column D; 14.7 M parameters for 10 classes. `thinner` divides every number of channels."""
    return CifarVGG(_thin(_COLUMN_D, thinner), classes, _wide_enough(spec))


def _thin(column: tuple[int, ...], thinner: int) -> tuple[int, ...]:
    if thinner not in (1, 2, 4, 8, 16):
        raise BadInput(f"argument thinner={thinner}: wanted 1, 2, 4, 8 or 16")
    return tuple(width // thinner for width in column)


def _wide_enough(spec: InputSpec) -> int:
    if spec.size < 32:
        raise BadInput(f"input.size={spec.size}: five poolings need at least 32 pixels")
    return spec.channels
