"""Pairs of image and feature that an inverse network learns from, within what is granted."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adversary.contract.believed import Spoil, believed
from adversary.contract.threat import AuxImages, Observed, ThreatModel
from splitlab.contracts import FeatureSpec
from splitlab.errors import BadInput
from splitlab.metrics import ssim
from splitlab.pieces import in_pieces
from splitlab.training import Batch, Loss, State, Step, TensorSource

KEPT_BYTES = 2 << 30
"""Features of all images are kept up to this size; above it the head runs again for each batch."""
PIECE = 250


@dataclass(frozen=True, eq=False)
class Pairs:
    """What to learn from.

    Args:
        images: uint8 [N, 3, S, S].
        feature: shape of one feature.
        features: float32 [N, *feature_shape], or None where they are made batch by batch.
        head: makes them then.
        spoil: what the adversary believes to happen to a feature before it sees it.
        how: where the pairs come from, for the record.
        facts: what is told of the images' making, for the record.
    """

    images: Tensor
    feature: FeatureSpec
    features: Tensor | None
    head: nn.Module | None
    spoil: Spoil
    how: str
    facts: Mapping[str, Any]

    @property
    def source(self) -> TensorSource:
        """Images first, features second where they are kept."""
        kept = (self.features,) if self.features is not None else ()
        return TensorSource((self.images, *kept))

    def told(self, net: nn.Module, losses: list[float]) -> dict[str, Any]:
        """What a record says of a network that learned from them."""
        count = sum(p.numel() for p in net.parameters())
        return {"learned_from": self.how, **self.facts, "losses": losses, "parameters": count}

    def shuffled(self, rng: torch.Generator) -> Pairs:
        """All of them, in an order that `rng` (of the CPU) decides."""
        order = torch.randperm(len(self.images), generator=rng).to(self.images.device)
        kept = self.features if self.features is None else self.features[order]
        return replace(self, images=self.images[order], features=kept)

    def first(self, count: int) -> Pairs:
        """The first `count` of them; they come in random order."""
        kept = self.features if self.features is None else self.features[:count]
        return replace(self, images=self.images[:count], features=kept)

    def after(self, count: int) -> Pairs:
        """All but the first `count` of them."""
        kept = self.features if self.features is None else self.features[count:]
        return replace(self, images=self.images[count:], features=kept)

    def seen(self, images: Tensor, features: Tensor | None, rng: torch.Generator) -> Tensor:
        """z^ for some of the images, float [B, 3, S, S], as the wire would show it."""
        if features is None:
            assert self.head is not None
            with torch.no_grad():
                features = self.head(images)
        return self.spoil(features, rng)

    def some(self, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """(images in [0, 1], z^) of all images, or of as many as may be kept."""
        pixels = self.images.float() / 255
        if self.features is not None:
            return pixels, self.seen(pixels, self.features, rng)
        pixels = pixels[: max(2, KEPT_BYTES // (4 * self.feature.count))]
        return pixels, in_pieces(lambda part: self.seen(part, None, rng), pixels, PIECE)


def gather(threat: ThreatModel, device: torch.device, who: str) -> Pairs:
    """The best pairs that `threat` allows: chosen-input queries, else the head on own images.

    Queries hold the defence already. With the head, the defence is modelled where it is granted
    (adaptive) and left out where it is not (unaware).

    Raises:
        MissingKnowledge: neither queries nor head, or no images for the head.
        BadInput: no image at all.
    """
    if threat.observe is not None:
        observed: Observed = threat.observe
        _some(len(observed.images), who)
        return Pairs(
            observed.images.images.to(device),
            FeatureSpec(shape=tuple(observed.features.shape[1:])),
            observed.features.to(device),
            None,
            lambda feature, _rng: feature,
            "queries to the client",
            threat.aux.facts if threat.aux is not None else {},
        )
    own: AuxImages = threat.need("aux", who)
    _some(len(own.images), who)
    head = _moved(threat.need("head", who), device)
    images = own.images.images.to(device)
    with torch.inference_mode():
        first = head(images[:2].float() / 255)
    spec = FeatureSpec(shape=tuple(first.shape[1:]))
    features = None
    if 4 * spec.count * len(images) <= KEPT_BYTES:
        with torch.no_grad():
            features = in_pieces(lambda part: head(part.float() / 255), images, PIECE)
    known = "knowing the defence" if threat.defense or threat.protectors else "as if undefended"
    spoil = believed(threat, spec.shape)
    return Pairs(images, spec, features, head, spoil, f"own head, {known}", own.facts)


def given_pairs(images: Tensor, features: Tensor) -> Pairs:
    """Pairs that somebody has at hand, such as in a notebook.

    Args:
        images: [N, 3, S, S], uint8 or float in [0, 1].
        features: float [N, *feature_shape], of these images, as the wire shows them.

    Raises:
        BadInput: another number of features than of images, or fewer than two.
    """
    if len(images) != len(features):
        raise BadInput(f"{len(images)} images and {len(features)} features; wanted one each")
    _some(len(images), "learning from pairs")
    pixels = images if images.dtype == torch.uint8 else images.mul(255).round().byte()
    spec = FeatureSpec(shape=tuple(features.shape[1:]))
    return Pairs(pixels, spec, features, None, lambda feature, _rng: feature, "given pairs", {})


def pixel_error(pairs: Pairs, draw: torch.Generator, like: float = 0.0) -> Step:
    """The step of an inverse network "net" on spoilt features.

    Args:
        like: weight of 1 - SSIM beside the mean squared error.
    """

    def step(state: State, batch: Batch) -> dict[str, Loss]:
        kept = batch.tensors[1] if len(batch.tensors) > 1 else None
        seen = pairs.seen(batch.images, kept, draw)
        answer = state.modules["net"](seen).float()
        loss = F.mse_loss(answer, batch.images)
        if like:
            loss = loss + like * (1 - ssim(batch.images, answer).mean())
        return {"net": loss}

    return step


def _moved(module: nn.Module, device: torch.device) -> nn.Module:
    """A copy on `device`: what was granted stays where it is."""
    return module if device.type == "cpu" else copy.deepcopy(module).to(device)


def _some(count: int, who: str) -> None:
    if count < 2:
        raise BadInput(f"{who} has {count} images to learn from; grant it at least 2")
