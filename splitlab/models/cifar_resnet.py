"""ResNet for CIFAR: He et al. 2015 (arXiv:1512.03385), section 4.2, shortcut option A.

Key names are those of akamaster/pytorch_resnet_cifar10, whose checkpoints load.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from splitlab.contracts import InputSpec
from splitlab.models.skip import stage_factors


class PaddedBlock(nn.Module):
    """Two 3x3 convolutions; the identity is subsampled and padded with zero channels (option A).

    Args:
        before: channels in.
        after: channels out.
        stride: of the first convolution and of the subsampling.
        skip: factor of the identity; 0 removes the shortcut.
    """

    def __init__(self, before: int, after: int, stride: int, skip: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.stride, self.padding, self.skip = stride, after - before, skip

    def forward(self, x: Tensor) -> Tensor:
        """[B, before, H, W] -> [B, after, H/stride, W/stride]."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.skip != 0:
            identity = x
            if self.stride != 1:
                identity = identity[:, :, :: self.stride, :: self.stride]
            if self.padding:
                front = self.padding // 2
                identity = F.pad(identity, (0, 0, 0, 0, front, self.padding - front))
            out = out + (identity if self.skip == 1 else self.skip * identity)
        return self.relu(out)


class CifarResNet(nn.Module):
    """16-32-64 channels, three stages of `depth` blocks each, 6 * depth + 2 layers.

    Args:
        depth: blocks a stage.
        classes: logits.
        channels: of the image.
        skip: one factor a stage for its identities.
    """

    def __init__(self, depth: int, classes: int, channels: int, skip: Sequence[float]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = _stage(16, 16, depth, 1, skip[0])
        self.layer2 = _stage(16, 32, depth, 2, skip[1])
        self.layer3 = _stage(32, 64, depth, 2, skip[2])
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] -> logits [B, classes]."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(self.avgpool(x).flatten(1))


def _stage(before: int, after: int, depth: int, stride: int, skip: float) -> nn.Sequential:
    first = PaddedBlock(before, after, stride, skip)
    return nn.Sequential(first, *(PaddedBlock(after, after, 1, skip) for _ in range(depth - 1)))


def resnet8(*, classes: int, spec: InputSpec, skip: Sequence[float] | None = None) -> nn.Module:
    """One block a stage, 0.08 M parameters for 10 classes: for runs that take minutes on a CPU."""
    return CifarResNet(1, classes, spec.channels, stage_factors(skip, 3))


def resnet20(*, classes: int, spec: InputSpec, skip: Sequence[float] | None = None) -> nn.Module:
    """0.27 M parameters for 10 classes. `skip`: three factors of the stages' identities."""
    return CifarResNet(3, classes, spec.channels, stage_factors(skip, 3))


def resnet56(*, classes: int, spec: InputSpec, skip: Sequence[float] | None = None) -> nn.Module:
    """0.85 M parameters for 10 classes. `skip`: three factors of the stages' identities."""
    return CifarResNet(9, classes, spec.channels, stage_factors(skip, 3))
