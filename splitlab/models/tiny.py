"""Networks of a few thousand parameters, for tests and for first steps: seconds on one core."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from splitlab.contracts import InputSpec
from splitlab.errors import BadInput


def tiny_cnn(*, classes: int, spec: InputSpec, width: int = 8) -> nn.Module:
    """Three convolutions with batch normalisation, two of them of stride 2, and a linear layer."""
    net = nn.Sequential()
    before = spec.channels
    for number, (after, stride) in enumerate(((width, 1), (2 * width, 2), (4 * width, 2)), 1):
        convolution = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        block = nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())
        net.add_module(f"block{number}", block)
        before = after
    net.add_module("pool", nn.AdaptiveAvgPool2d(1))
    net.add_module("flatten", nn.Flatten())
    net.add_module("fc", nn.Linear(before, classes))
    return net


class TinyViT(nn.Module):
    """A vision transformer (Dosovitskiy et al. 2020, arXiv:2010.11929) of `depth` small layers."""

    def __init__(self, classes: int, spec: InputSpec, patch: int, width: int, depth: int) -> None:
        super().__init__()
        self.conv_proj = nn.Conv2d(spec.channels, width, patch, patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        tokens = (spec.size // patch) ** 2 + 1
        self.position = nn.Parameter(torch.zeros(1, tokens, width))
        nn.init.trunc_normal_(self.position, std=0.02)
        self.layers = nn.Sequential(*(_layer(width) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, size, size] -> logits [B, classes]."""
        tokens = self.conv_proj(x).flatten(2).transpose(1, 2)
        first = self.class_token.expand(x.shape[0], -1, -1)
        tokens = torch.cat([first, tokens], 1) + self.position
        return self.head(self.norm(self.layers(tokens))[:, 0])


def _layer(width: int) -> nn.Module:
    return nn.TransformerEncoderLayer(
        width, 2, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )


def tiny_vit(
    *, classes: int, spec: InputSpec, patch: int = 4, width: int = 32, depth: int = 2
) -> nn.Module:
    """A class token and (size / patch)^2 patches of `width` numbers, two heads a layer.

    Raises:
        BadInput: a patch that does not divide the image.
    """
    if spec.size % patch:
        raise BadInput(f"argument patch={patch}: it must divide input.size={spec.size}")
    return TinyViT(classes, spec, patch, width, depth)
