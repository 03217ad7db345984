"""ResNet-18 with the small-image stems of Ensembler (arXiv:2401.10859), keys as torchvision's."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from splitlab.contracts import InputSpec
from splitlab.errors import BadInput
from splitlab.models.skip import stage_factors

STEMS = ("cifar10", "cifar100", "celeba")


class BasicBlock(nn.Module):
    """He et al. 2015, figure 5 left: two 3x3 convolutions around an identity or a projection.

    Args:
        before: channels in.
        after: channels out.
        stride: of the first convolution and of the projection.
        skip: factor of the identity; 0 removes the shortcut and its projection.
    """

    def __init__(self, before: int, after: int, stride: int, skip: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.skip = skip
        self.downsample: nn.Module | None = None
        if skip != 0 and (stride != 1 or before != after):
            projection = nn.Conv2d(before, after, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        """[B, before, H, W] -> [B, after, H/stride, W/stride]."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.skip != 0:
            identity = x if self.downsample is None else self.downsample(x)
            out = out + (identity if self.skip == 1 else self.skip * identity)
        return self.relu(out)


class SmallResNet18(nn.Module):
    """64-128-256-512 channels, two blocks a stage, behind a 3x3 stem of stride 1.

    The CIFAR-10 and CelebA stems end in a 3x3 max pooling of stride 2, the CIFAR-100 stem has none.
    """

    def __init__(self, classes: int, channels: int, pool: bool, skip: Sequence[float]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1) if pool else nn.Identity()
        self.layer1 = _stage(64, 64, 1, skip[0])
        self.layer2 = _stage(64, 128, 2, skip[1])
        self.layer3 = _stage(128, 256, 2, skip[2])
        self.layer4 = _stage(256, 512, 2, skip[3])
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] -> logits [B, classes]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


def _stage(before: int, after: int, stride: int, skip: float) -> nn.Sequential:
    return nn.Sequential(BasicBlock(before, after, stride, skip), BasicBlock(after, after, 1, skip))


def resnet18_cifar(
    *,
    classes: int,
    spec: InputSpec,
    stem: str = "cifar10",
    skip: Sequence[float] | None = None,
) -> nn.Module:
    """11.2 M parameters for 10 classes.

    Args:
        stem: "cifar10" and "celeba" with max pooling, "cifar100" without.
        skip: four factors of the stages' identities.

    Raises:
        BadInput: another stem, or other factors.
    """
    if stem not in STEMS:
        raise BadInput(f"argument stem={stem!r}: give one of {', '.join(STEMS)}")
    return SmallResNet18(classes, spec.channels, stem != "cifar100", stage_factors(skip, 4))
