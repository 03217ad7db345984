"""A small classifier as one might have at home: inverted residuals with squeeze and excitation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Gate(nn.Module):
    """Squeeze and excitation: each channel is scaled by what all of the map shows."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // 4, 1)
        self.excite = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = F.adaptive_avg_pool2d(x, 1)
        return x * torch.sigmoid(self.excite(F.relu(self.squeeze(mean))))


class Block(nn.Module):
    """Wide, depthwise, gated, narrow; with a shortcut where size and channels stay."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        wide = 3 * channels
        self.expand = nn.Sequential(
            nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.Hardswish()
        )
        self.depthwise = nn.Sequential(
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.Hardswish(),
        )
        self.gate = Gate(wide)
        self.project = nn.Sequential(nn.Conv2d(wide, out, 1, bias=False), nn.BatchNorm2d(out))
        self.shortcut = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.gate(self.depthwise(self.expand(x))))
        return x + y if self.shortcut else y


class DoorbellNet(nn.Module):
    """Normalised RGB images [B, 3, S, S] -> logits [B, num_classes]."""

    def __init__(self, num_classes: int, width: int = 16, blocks: tuple[int, ...] = (2, 2)) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.Hardswish()
        )
        channels, stages = width, []
        for count in blocks:
            stages.append(Block(channels, 2 * channels, 2))
            channels *= 2
            stages += [Block(channels, channels, 1) for _ in range(count - 1)]
        self.stages = nn.Sequential(*stages)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stages(self.stem(x))
        return self.classifier(F.adaptive_avg_pool2d(y, 1).flatten(1))
