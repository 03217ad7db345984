"""Small images, heads whose inverse is known, and threat models about them: for tests."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adversary.contract.threat import AuxImages, Observed, ThreatModel
from defenses import parse, protect
from splitlab.contracts import ArchSpec, FeatureSpec, InputSpec
from splitlab.data import ImageSet
from splitlab.models import build
from splitlab.randomness import FreeDraw, Secret, generator
from splitlab.split import cut

SIZE = 16
INPUT = InputSpec(size=SIZE)
SECRET = Secret.new(secret_seed=1)


def images(count: int, seed: int) -> ImageSet:
    """Smooth random images with some texture, uint8 [count, 3, 16, 16]."""
    g = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 4, 4, generator=g)
    pixels = F.interpolate(coarse, SIZE, mode="bilinear", align_corners=False)
    pixels = pixels + 0.05 * torch.randn(pixels.shape, generator=g)
    return ImageSet(
        images=pixels.clamp(0, 1).mul(255).byte(),
        labels=torch.zeros(count, dtype=torch.int64),
        classes=("smooth",),
        groups=torch.arange(count),
        name="smooth",
    )


AUX = AuxImages(images(240, 1), images(8, 2), "same distribution")
VICTIMS = images(8, 3).floats()


class Orthogonal(nn.Module):
    """Pixels in blocks, times an orthogonal matrix; laid out as a layer of some network would.

    Its exact inverse is the transposed matrix.
    """

    def __init__(self, layout: str, block: int = 4) -> None:
        super().__init__()
        self.layout, self.block = layout, SIZE if layout == "vector" else block
        numbers = 3 * self.block**2
        random = torch.randn(numbers, numbers, generator=torch.Generator().manual_seed(4))
        self.register_buffer("matrix", torch.linalg.qr(random).Q)

    def forward(self, x: Tensor) -> Tensor:
        blocks = F.pixel_unshuffle(x, self.block)
        mixed = torch.einsum("oc,bchw->bohw", self.matrix, blocks)
        if self.layout == "vector":
            return mixed.flatten(1)
        if self.layout == "tokens":
            tokens = mixed.flatten(2).transpose(1, 2)
            return torch.cat([tokens.mean(1, keepdim=True), tokens], 1)
        return mixed.permute(0, 2, 3, 1) if self.layout == "grid" else mixed


def tiny_head(point: str, name: str = "tiny_cnn", **arguments: Any) -> nn.Module:
    """Head of an untrained tiny network whose batch norms have seen other than their defaults."""
    net = build(ArchSpec(name=name, input=INPUT, arguments=arguments), seed=0)
    g = torch.Generator().manual_seed(5)
    for key, value in net.state_dict().items():
        if key.endswith("running_var"):
            value.copy_(0.05 + 0.1 * torch.rand(value.shape, generator=g))
    return cut(net, point, None, INPUT.shape).head


def capture(head: nn.Module, defense: str = "none", pixels: Tensor = VICTIMS) -> Tensor:
    """z^ of some images behind a defence, as the client would send them."""
    with torch.no_grad():
        feature = head(pixels)
        protectors = parse(defense).protectors(tuple(feature.shape[1:]), SECRET)
        return protect(protectors, feature, FreeDraw(generator(7, "client")))


def threat(head: nn.Module, defense: str = "none", *, known: str) -> ThreatModel:
    """What is granted: "queries", "unaware" (head alone), "adaptive" (and the defence), "noise"."""
    shape = tuple(capture(head).shape[1:])
    fields: dict[str, Any] = {"feature": FeatureSpec(shape=shape), "input": INPUT, "aux": AUX}
    if known == "queries":
        answers = capture(head, defense, AUX.images.floats())
        return ThreatModel(observe=Observed(AUX.images, answers), **fields)
    if known in ("adaptive", "noise"):
        fields["defense"] = parse(defense).spec
    if known == "noise":
        fields["protectors"] = parse(defense).protectors(shape, SECRET)
    return ThreatModel(head=head, **fields)
