"""The decoder that Ensembler's attack ends with (Liu and Xiong 2024, after He, Zhang and Lee 2019;
SPEC E-10, step 4): transposed convolutions up to the image, then four plain ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adversary.contract.attack import Attack, seed_of
from adversary.contract.threat import ThreatModel
from adversary.contract.workplace import ALONE, Estimator, Workplace
from adversary.parts.feature_map import FeatureMap
from adversary.parts.pairs import PIECE, gather, pixel_error
from splitlab.contracts import Estimate, Features, FeatureSpec
from splitlab.contracts.ranges import BatchSize, Epochs, LearningRate
from splitlab.pieces import in_pieces
from splitlab.training import State

WIDTH = 64
FIRST = 4
"""Side of the map that a feature without places is spread over."""


class UpNetwork(nn.Module):
    """z [B, *feature_shape] -> images [B, 3, S, S] in [0, 1].

    One transposed convolution for each doubling from the feature to the image, or one plain
    convolution where they have the same side; then 3 x (3x3 convolution, batch norm, ReLU), 3x3
    convolution and sigmoid. What doubling does not hit exactly is interpolated.
    """

    def __init__(self, feature: FeatureSpec, size: int) -> None:
        super().__init__()
        self.size = size
        self.read = FeatureMap(feature)
        channels, height, breadth = self.read.shape
        side = min(height, breadth)
        layers: list[nn.Module] = []
        if height == breadth == 1:
            layers.append(nn.ConvTranspose2d(channels, WIDTH, FIRST))
            channels, side = WIDTH, FIRST
        while 2 * side <= size:
            layers.append(nn.ConvTranspose2d(channels, WIDTH, 4, 2, 1))
            channels, side = WIDTH, 2 * side
        if not layers:
            layers.append(nn.Conv2d(channels, WIDTH, 3, padding=1))
        for _ in range(3):
            layers += [nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.BatchNorm2d(WIDTH), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(WIDTH, 3, 3, padding=1))

    def forward(self, feature: Tensor) -> Tensor:
        images = self.layers(self.read(feature))
        if images.shape[-2:] != (self.size, self.size):
            images = F.interpolate(
                images, (self.size, self.size), mode="bilinear", align_corners=False
            )
        return images.sigmoid()


class UpDecoder(Attack):
    """Minimises the mean squared pixel error of `UpNetwork` with Adam at a constant rate."""

    name: ClassVar[str] = "up-decoder"
    source: ClassVar[str] = "Liu and Xiong 2024, arXiv:2401.10859"
    asks: ClassVar[Mapping[str, frozenset[str]]] = {"undefended": frozenset({"head"})}

    epochs: Epochs = 30
    batch_size: BatchSize = 32
    learning_rate: LearningRate = 1e-3

    def fit(self, threat: ThreatModel, rng: torch.Generator, work: Workplace = ALONE) -> Estimator:
        pairs = gather(threat, work.place, f"attack {self.name!r}")
        draw, seed = torch.Generator(), seed_of(rng)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = UpNetwork(pairs.feature, pairs.images.shape[-1])
        optimizer = torch.optim.Adam(net.parameters(), lr=self.learning_rate)
        net.train()
        history = work.fit(
            pixel_error(pairs, draw),
            State({"net": net}, {"net": optimizer}, {}, {}, {"draw": draw}),
            pairs.source,
            epochs=self.epochs,
            batch_size=self.batch_size,
            seed=seed,
            name=f"{self.name} {threat.head_end or ''}".strip(),
        )
        net.requires_grad_(False).eval()
        facts = pairs.told(net, history.losses.get("net", []))

        def reconstruct(observed: Features) -> Estimate:
            with torch.inference_mode():
                images = in_pieces(lambda z: net(z).float(), observed.features, PIECE, work.place)
            return Estimate(images.clone(), [], dict(facts))

        return reconstruct
