"""PSiM (Dosovitskiy and Brox 2016, "Generating Images with Perceptual Similarity Metrics based on
Deep Networks"): a generator of images from features, under three losses. A rival of DCI.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from adversary.contract.attack import Attack, Preset, seed_of
from adversary.contract.threat import ThreatModel
from adversary.contract.workplace import ALONE, Estimator, Workplace
from adversary.parts.pairs import Pairs, gather, given_pairs
from adversary.parts.upconvolution import Critic, Upconvolution
from splitlab.contracts import Estimate, Features
from splitlab.contracts.ranges import BatchSize, Epochs, LearningRate, Weight
from splitlab.pieces import in_pieces
from splitlab.split.folding import fold_batch_norm
from splitlab.training import Batch, Loss, State, Step, batch_count

PIECE = 250
DOSOVITSKIY2016 = {
    "batch_size": 64,
    "learning_rate": 2e-4,
    "pixels": 1.0,
    "features": 1.0,
    "fooling": 1.0,
    "width": 64,
}
TIRED = 0.1
"""The discriminator rests while its loss is below this share of the generator's."""


class PSiM(Attack):
    """Squared error of pixels, squared error of features, and a conditional discriminator.

    The features that are compared are the head's own. The paper weighs the three losses for images
    in 0..255; here each is divided by its value before the first step, so that the weights are
    shares and need no such range.

    The preset "dosovitskiy2016" has the optimiser and batches of the paper, section 3, equal shares
    of the three losses, and the width that the lab takes for ImageNet. It says nothing of
    `epochs`: the paper counts steps, and how many make an epoch depends on the images at hand.

    Args:
        epochs: passes over the pairs.
        learning_rate: of both networks (Adam) at the start; it falls to 0 as a cosine.
        pixels, features, fooling: weights of the three losses.
        width: of both networks, channels at the image's resolution.
    """

    name: ClassVar[str] = "psim"
    source: ClassVar[str] = "Dosovitskiy and Brox 2016, arXiv:1602.02644, section 3"
    asks: ClassVar[Mapping[str, frozenset[str]]] = {
        "undefended": frozenset({"head"}),
        "adaptive": frozenset({"head", "defense"}),
        "unaware": frozenset({"head"}),
    }

    presets: ClassVar[Mapping[str, Preset]] = {
        "dosovitskiy2016": Preset(
            DOSOVITSKIY2016, "Dosovitskiy and Brox 2016, arXiv:1602.02644, section 3; shares equal"
        )
    }

    epochs: Epochs = 60
    batch_size: BatchSize = 64
    learning_rate: LearningRate = 2e-4
    pixels: Weight = 1.0
    features: Weight = 1.0
    fooling: Weight = 1.0
    width: Annotated[int, Field(ge=4, le=1024, description="channels")] = 32

    def fit(self, threat: ThreatModel, rng: torch.Generator, work: Workplace = ALONE) -> Estimator:
        place, who = work.place, f"attack {self.name!r}"
        pairs = gather(threat, place, who)
        head = fold_batch_norm(copy.deepcopy(threat.need("head", who))).to(place)
        net, facts = learn_generator(pairs, head, self, rng, work)

        def reconstruct(observed: Features) -> Estimate:
            with torch.inference_mode():
                found = in_pieces(lambda z: net(z).float(), observed.features, PIECE, place)
            return Estimate(found.clone(), [], dict(facts))

        return reconstruct


def fit_psim(
    images: Tensor,
    features: Tensor,
    head: nn.Module,
    rng: torch.Generator,
    settings: PSiM | None = None,
) -> nn.Module:
    """Learn features -> images from pairs at hand: the attack without a threat model.

    Args:
        images: [n, 3, S, S], uint8 or float in [0, 1].
        features: float [n, *feature_shape], of these images.
        head: images -> features, differentiable; what comes out is compared in it.
        rng: CPU generator that decides all that is drawn.
        settings: as of the attack.
    """
    pairs, work = given_pairs(images, features), Workplace(str(images.device))
    return learn_generator(pairs, head, settings or PSiM(), rng, work)[0]


def learn_generator(
    pairs: Pairs,
    head: nn.Module,
    settings: PSiM,
    rng: torch.Generator,
    work: Workplace = ALONE,
) -> tuple[nn.Module, dict[str, object]]:
    """The three losses, generator against discriminator; what was learned, and facts of it.

    Args:
        pairs, head: on `work.device`.
    """
    draw, seed = torch.Generator().manual_seed(seed_of(rng)), seed_of(rng)
    place, size = work.place, pairs.images.shape[-1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Upconvolution(pairs.feature, size, settings.width, normed=False).to(place)
        judge = Critic(size, settings.width, feature=pairs.feature, normed=False).to(place)
    weights = _start(settings, net, judge, head, pairs, draw)
    steps = max(1, settings.epochs * batch_count(len(pairs.images), settings.batch_size))
    optimizers = {
        name: torch.optim.Adam(module.parameters(), lr=settings.learning_rate)
        for name, module in (("judge", judge), ("net", net))
    }
    history = work.fit(
        _step(head, pairs, weights, draw),
        State(
            {"net": net, "judge": judge},
            optimizers,
            {name: CosineAnnealingLR(one, steps) for name, one in optimizers.items()},
            generators={"draw": draw},
        ),
        pairs.source,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        seed=seed,
        name=settings.name,
    )
    net.requires_grad_(False).eval()
    return net, pairs.told(net, history.losses.get("net", [])[-3:])


@torch.no_grad()
def _start(
    settings: PSiM,
    net: nn.Module,
    judge: nn.Module,
    head: nn.Module,
    pairs: Pairs,
    draw: torch.Generator,
) -> tuple[float, float, float]:
    """The weights over the losses' values before the first step, on the first images."""
    rows = slice(0, min(settings.batch_size, len(pairs.images)))
    images = pairs.images[rows].float() / 255
    kept = pairs.features[rows] if pairs.features is not None else None
    seen = pairs.seen(images, kept, draw)
    found = _losses(net(seen), images, _clean(pairs, kept), seen, head, judge)
    weights = (settings.pixels, settings.features, settings.fooling)
    shares = [w / max(float(loss), 1e-12) for w, loss in zip(weights, found, strict=True)]
    return shares[0], shares[1], shares[2]


def _step(
    head: nn.Module, pairs: Pairs, weights: tuple[float, float, float], draw: torch.Generator
) -> Step:
    """Generator against discriminator on the pairs."""

    def step(state: State, batch: Batch) -> dict[str, Loss]:
        net, judge = state.modules["net"], state.modules["judge"]
        kept = batch.tensors[1] if len(batch.tensors) > 1 else None
        seen = pairs.seen(batch.images, kept, draw)
        made = net(seen)
        wrong = F.softplus(-judge(batch.images, seen)).mean()
        wrong = wrong + F.softplus(judge(made.detach(), seen)).mean()

        def generator() -> Tensor:
            terms = _losses(made, batch.images, _clean(pairs, kept), seen, head, judge)
            return torch.stack([w * t for w, t in zip(weights, terms, strict=True)]).sum()

        with torch.no_grad():
            fooling = F.softplus(-judge(made, seen)).mean()
        tired = float(wrong.detach()) < TIRED * float(fooling)
        return {"net": generator} if tired else {"judge": wrong, "net": generator}

    return step


def _clean(pairs: Pairs, features: Tensor | None) -> Tensor | None:
    """What was kept, if the head made it; answers to queries hold the defence already."""
    return features if pairs.head is not None else None


def _losses(
    made: Tensor,
    images: Tensor,
    features: Tensor | None,
    seen: Tensor,
    head: nn.Module,
    judge: nn.Module,
) -> tuple[Tensor, Tensor, Tensor]:
    """Of the generator: pixels, features, and how well the discriminator sees through it.

    Args:
        features: of `images`, as the head gives them; None where they are not kept.
        seen: what the wire shows of them.
    """
    if features is None:
        with torch.no_grad():
            features = head(images)
    return (
        F.mse_loss(made, images),
        F.mse_loss(head(made), features),
        F.softplus(-judge(made, seen)).mean(),
    )
