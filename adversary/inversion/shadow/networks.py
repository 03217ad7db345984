"""Shadow head and shadow tail (Liu and Xiong 2024, "Ensembler", section 3): fresh, own weights.

The adversary knows the shape of what crosses the wire and of what the bodies answer, and the
architecture; it has no weight of the client's.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from adversary.contract.threat import ThreatModel
from adversary.parts.feature_map import FeatureMap
from splitlab.contracts import FeatureSpec, InputSpec
from splitlab.errors import BadInput
from splitlab.models import build
from splitlab.split import cut, widen


class PaperHead(nn.Module):
    """Three 3x3 convolutions: the first imitates the head, the other two what is done to it.

    The first, with batch norm, ReLU and max pooling, brings the image to the feature's resolution;
    nothing comes after the last, as noise may have either sign. Where the feature has no places
    (a vector, a 1x1 map), the convolutions work at a quarter of the image's side and their mean is
    the answer; class tokens are a linear function of that mean.

    Args:
        feature: shape of one feature.
        given: size of the images, and how the network is known to normalise them.
        channels: of the first two convolutions; the last has the feature's.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, feature: FeatureSpec, given: InputSpec, channels: int = 64) -> None:
        super().__init__()
        self.feature = feature
        # Read the other way about, it says how a map is laid out as this feature.
        form = FeatureMap(feature)
        wide, height, breadth = form.shape
        self.placeless = height == breadth == 1
        if self.placeless:
            height = breadth = max(1, given.size // 4)
        self.register_buffer("mean", torch.tensor(given.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(given.std).view(1, -1, 1, 1))
        self.first = nn.Sequential(
            nn.Conv2d(given.channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )
        same = (height, breadth) == (given.size, given.size)
        self.pool = nn.Identity() if same else nn.AdaptiveMaxPool2d((height, breadth))
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.third = nn.Conv2d(channels, wide, 3, padding=1)
        leading = form.grid[0] if form.grid is not None else 0
        self.leading = nn.Linear(wide, leading * wide) if leading else None

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, S, S] in [0, 1] -> [B, *feature_shape]."""
        maps = self.pool(self.first((images - self.mean) / self.std))
        maps = self.third(torch.relu(self.second(maps)))
        if self.placeless:
            maps = maps.mean((2, 3), keepdim=True)
        if self.feature.layout == "grid":
            return maps.permute(0, 2, 3, 1)
        if self.feature.layout == "tokens" and not self.placeless:
            tokens = maps.flatten(2).transpose(1, 2)
            if self.leading is None:
                return tokens
            front = self.leading(tokens.mean(1)).unflatten(1, (-1, tokens.shape[2]))
            return torch.cat([front, tokens], 1)
        return maps.reshape(-1, *self.feature.shape)


def paper_head(threat: ThreatModel, channels: int, seed: int, who: str) -> nn.Module:
    """`PaperHead` for what `threat` has on the wire, its weights drawn under `seed`.

    Raises:
        MissingKnowledge: the shape of the feature or of the images is not granted.
    """
    feature, given = threat.need("feature", who), threat.need("input", who)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PaperHead(feature, given, channels)


def architecture_head(threat: ThreatModel, seed: int, who: str) -> nn.Module:
    """The head's own architecture with weights drawn under `seed`.

    Raises:
        MissingKnowledge: the architecture, or where it is cut, is not granted.
    """
    arch, end = threat.need("arch", who), threat.need("head_end", who)
    return cut(build(arch, seed), end, threat.tail_start, arch.input.shape).head


def shadow_tail(
    threat: ThreatModel, output: tuple[int, ...], times: int, classes: int, seed: int, who: str
) -> nn.Module:
    """What follows the bodies, for `times` outputs side by side, weights drawn under `seed`.

    With the architecture it is its own tail, widened; a tail without layers stays one for a single
    body. Without the architecture it is linear, and the outputs have to be vectors.

    Args:
        output: shape of one body's output, without the batch.
        classes: of the adversary's labels.

    Raises:
        MissingKnowledge: outputs that are no vectors, and no architecture.
        BadInput: more classes than the network tells apart.
    """
    if threat.arch is None and len(output) == 1:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return nn.Linear(times * output[0], classes)
    arch, end = threat.need("arch", who), threat.need("head_end", who)
    if classes > arch.classes:
        raise BadInput(
            f"{who} has labels of {classes} classes and the network tells {arch.classes} apart; "
            "grant it auxiliary images of the task that the network was trained for"
        )
    tail = cut(build(arch, seed), end, threat.tail_start, arch.input.shape).tail
    return copy.deepcopy(widen(tail, times))
