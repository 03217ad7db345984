"""What the captures alone say: a shadow head in white colours, and maps that may colour them.

Nothing here depends on the bodies, so that attacks through different bodies share it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adversary.contract.workplace import ALONE, Workplace
from adversary.inversion.aligned.blind_inversion import Inverted, invert
from adversary.inversion.aligned.colour_critic import ColourCritic, trained_critics
from adversary.inversion.aligned.colour_map import (
    SHOWN,
    ColourMap,
    candidates,
    distinct,
    judge,
    refine,
)
from adversary.inversion.aligned.fixed_noise import FixedNoise, fixed_noise
from adversary.inversion.aligned.head import learn_head
from adversary.inversion.aligned.principal_images import Whitening, principal_images
from adversary.inversion.aligned.remembered import Remembered
from adversary.parts.feature_map import FeatureMap
from splitlab.contracts import ArchSpec, FeatureSpec
from splitlab.errors import BadInput
from splitlab.storage import hash_tensors

ENOUGH = 0.02
"""Share of the features' variance at which a head explains them, and no other one is tried."""
SMALLEST = 4
"""Places a side below which a map shows no picture."""


@dataclass(frozen=True)
class ProposalEffort:
    """How much is done; see `AlignedShadow`."""

    critic_epochs: int
    tried: int
    started: int
    kept: int
    refine_steps: int
    head_epochs: int
    picture_epochs: int
    heads: int


@dataclass(frozen=True, eq=False)
class Proposals:
    """
    Args:
        noise: read off the captures.
        white: pictures of the captures, [n, 3, h, w], of mean 0 and covariance I.
        head: white pictures -> features without the noise.
        error: of the head, in shares of the features' variance.
        colours, critics: of the own images.
        search: another number is another search; see `maps`.
        seconds: that all but the searches took, when it was worked out.
    """

    noise: FixedNoise
    white: Tensor
    head: nn.Module
    error: float
    colours: Whitening
    critics: tuple[ColourCritic, ...]
    search: Callable[[int], list[ColourMap]]
    seconds: float
    _found: dict[int, list[ColourMap]] = field(default_factory=dict)

    def maps(self, number: int) -> list[ColourMap]:
        """Maps that the critics find natural, the most natural first, of one search of many."""
        if number not in self._found:
            self._found[number] = self.search(number)
        return self._found[number]


_known: Remembered[Proposals] = Remembered()


def proposals(
    captured: Tensor,
    images: Tensor,
    arch: ArchSpec,
    cut_at: tuple[str, str | None],
    effort: ProposalEffort,
    *,
    seed: int,
    work: Workplace = ALONE,
) -> Proposals:
    """From captured features [n, *feature_shape] and own images uint8 [m, 3, S, S].

    Args:
        cut_at: head_end and tail_start.
        work: without a checkpoint; what is learned here is remembered.

    Raises:
        BadInput: the feature is no map with enough places and channels, or never changes; or there
            are fewer than two captures or own images.
    """
    if min(len(captured), len(images)) < 2:
        raise BadInput(
            f"aligned-shadow compares captures with own images: {len(captured)} and {len(images)} "
            "are given, at least 2 of each are wanted"
        )

    def make() -> Proposals:
        started = time.perf_counter()
        noise = fixed_noise(captured)
        features = noise.remove(captured)
        maps = _maps(features)
        start = principal_images(maps)
        tries: list[Inverted] = []
        while not tries or (tries[-1].error > ENOUGH and len(tries) < effort.heads):
            again = seed + len(tries)
            learned = learn_head(
                arch,
                *cut_at,
                start,
                features,
                epochs=effort.head_epochs,
                seed=again,
                work=work,
            )
            found = invert(
                learned,
                start,
                features,
                size=arch.input.size,
                epochs=effort.picture_epochs,
                seed=again,
                work=work,
            )
            tries.append(found)
        white, head, error = min(tries, key=lambda one: one.error)
        small = _resized(images.to(work.place), maps.shape[-1])
        colours = Whitening(small.float() / 255)
        epochs = effort.critic_epochs
        critics = trained_critics(small, colours, epochs=epochs, seed=seed, work=work)

        def search(number: int) -> list[ColourMap]:
            rng = torch.Generator().manual_seed(seed + number)
            return _search(critics, white, colours, effort, rng)

        seconds = round(time.perf_counter() - started, 3)
        return Proposals(noise, white, head, error, colours, critics, search, seconds)

    given = hash_tensors({"captured": captured.cpu(), "images": images.cpu()})
    return _known.get(f"{given} {arch!r} {cut_at} {effort} {seed} {work.place}", make)


def _search(
    critics: tuple[ColourCritic, ...],
    white: Tensor,
    colours: Whitening,
    effort: ProposalEffort,
    rng: torch.Generator,
) -> list[ColourMap]:
    """Maps that the critics find natural: many that are refined a little, the best of them more."""

    def natural(one: ColourMap, images: Tensor = white) -> float:
        with torch.no_grad():
            return float(judge(critics, one(images)))

    early = effort.refine_steps // 3
    starts = candidates(critics, white, colours, rng, tried=effort.tried, kept=effort.started)
    found = [refine(critics[:1], one, white, colours, rng, steps=early) for one in starts]
    found.sort(key=lambda one: natural(one, white[: 2 * SHOWN]))
    kept = distinct(found, colours, effort.kept)
    steps = effort.refine_steps - early
    found = [refine(critics, one, white, colours, rng, steps=steps) for one in kept]
    return sorted(found, key=natural)


def require_map(shape: tuple[int, ...]) -> FeatureMap:
    """How a feature of this shape is read as a map.

    Raises:
        BadInput: it is no map with enough places and channels.
    """
    read = FeatureMap(FeatureSpec(shape=shape))
    channels, height, width = read.shape
    if channels < 3 or min(height, width) < SMALLEST:
        raise BadInput(
            f"aligned-shadow reads pictures off a map of 3 channels and {SMALLEST}x{SMALLEST} "
            f"places or more; the feature is {shape}: take 'shadow' instead"
        )
    return read


def _maps(features: Tensor) -> Tensor:
    """[n, C, h, w] of any feature.

    Raises:
        BadInput: no map with enough places and channels.
    """
    read = require_map(tuple(features.shape[1:]))
    if float(features.std()) == 0.0:
        raise BadInput("aligned-shadow: the captured features are all alike; tap other traffic")
    return read(features)


def _resized(images: Tensor, side: int) -> Tensor:
    """uint8 [n, 3, S, S] -> uint8 [n, 3, side, side], each place the mean of what it covers."""
    if images.shape[-1] == side:
        return images
    return F.adaptive_avg_pool2d(images.float(), side).round_().to(torch.uint8)
