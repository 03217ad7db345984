"""What a generator makes: latents are the truth, its images or inner outputs are what is seen.

Nothing crosses a wire. The generator is given, or trained on the point's images; its parts up to
the point's split are the `head` that has made what is seen, those behind it the `bodies`.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from adversary.contract.threat import ThreatModel
from bench.point.identity.config import PointConfig
from bench.point.lab import Lab
from bench.point.setup import Setup
from bench.point.sights.base import Facts, OfImages, Truth, Wanted
from bench.report.grids import rows_png
from splitlab.contracts import Features, FeatureSpec, InputSpec, Seen
from splitlab.errors import BadInput, UnknownName
from splitlab.metrics import evaluate
from splitlab.models import load_exactly, read_checkpoint
from splitlab.models.sngan import SNGAN_LATENTS, SNGANGenerator
from splitlab.pieces import in_pieces
from splitlab.randomness import generator
from splitlab.storage import hash_tensors, read_tensors, sha256, write_bytes, write_tensors
from splitlab.training import choose_device
from splitlab.training.gan import GanRecipe, train_sngan

MODEL = "sngan"
PIECE = 64
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Of the first latent, in the picture between pairs of them."""


class Generated(OfImages):
    """One generator's latents, which are drawn, and what it makes of them."""

    LEAST_CLASSES = 1
    SHOWS: tuple[type[Seen], ...] = (Features,)
    TELLS = frozenset[str]()
    SENT = 0
    CUTS = False

    def __init__(self, config: PointConfig, lab: Lab) -> None:
        self._config = config
        self._place = choose_device(lab.sources.device)
        self._net = generator_of(config, lab).to(self._place)
        self._count = config.attacked or config.victims
        self._depth = depth_of(config.split, self._net)
        self._order = torch.randperm(self._count, generator=generator(config.seed, "gan", "order"))

    @staticmethod
    def check(setup: Setup, wanted: Wanted) -> None:
        net = _untrained(setup.model, setup.size, GanRecipe(**setup.arguments))
        for end, _ in wanted:
            depth_of(end, net)

    @staticmethod
    def given(setup: Setup, classes: int, weights: Path) -> str:
        del classes
        net = _untrained(setup.model, setup.size, GanRecipe(**setup.arguments))
        load_exactly(net, read_checkpoint(weights), str(weights))
        return hash_tensors(net.state_dict())

    @classmethod
    def prepare(cls, config: PointConfig, lab: Lab) -> None:
        generator_of(config, lab)

    def threat(self) -> ThreatModel:
        grant, parts = self._config.grant, self._net.parts()
        ends = nn.Sequential(*parts[: self._depth]), nn.Sequential(*parts[self._depth :])
        return ThreatModel(
            name=self._config.knowledge,
            feature=FeatureSpec(shape=tuple(self._made.shape[1:])),
            input=InputSpec(kind="latent", size=self._config.size),
            head=ends[0] if grant.head else None,
            bodies=nn.ModuleList([ends[1]]) if grant.bodies else None,
        )

    def rng(self) -> torch.Generator:
        return self.stream(self._config, self._config.attack)

    @staticmethod
    def stream(config: PointConfig, attack: str) -> torch.Generator:
        del attack  # all of them draw from the seed itself
        return torch.Generator().manual_seed(config.seed)

    def seen(self) -> tuple[Seen, ...]:
        ids = tuple(f"made/{row}" for row in range(self._count))
        return (Features(ids, self._made[self._order]),)

    def truth(self) -> Truth:
        return Truth(
            self._latents,
            torch.arange(self._count),
            {f"made/{row}": index for row, index in enumerate(self._order.tolist())},
            self._latents_of("others"),
            {"generate": self.images},
        )

    def facts(self) -> Facts:
        first = self.images(self._latents)
        mean = self.images(self._latents_of("others")).mean(0, keepdim=True).expand_as(first)
        quality = evaluate(("psnr", "ssim"), first, mean.contiguous())
        parts = self._net.parts()
        counts = [sum(p.numel() for p in part.parameters()) for part in parts]
        state = self._net.state_dict()
        return Facts(
            {
                "name": self._config.split,
                "index": self._depth - 1,
                "shape": list(self._made.shape[1:]),
                "head_params": sum(counts[: self._depth]),
                "rest_params": sum(counts[self._depth :]),
                "generator": sha256(*(v.cpu().numpy().tobytes() for v in state.values())),
            },
            {f"mean_image_{name}": float(one.number or 0.0) for name, one in quality.items()},
        )

    def shown(self, folder: Path, point: str, truth: Tensor, values: Tensor) -> tuple[Tensor, ...]:
        """First and second generation; and what lies between pairs of estimates, as a picture."""
        if self._depth == len(self._net.parts()):
            ends = values[:8].unsqueeze(1)
            pairs = len(ends) // 2
            steps = torch.tensor(SHARES).view(1, -1, 1)
            path = steps * ends[0 : 2 * pairs : 2] + (1 - steps) * ends[1 : 2 * pairs : 2]
            rows = self.images(path.flatten(0, 1)).unflatten(0, (pairs, len(SHARES)))
            write_bytes(folder / f"{point}-between.png", rows_png(list(rows)))
        return self.images(truth), self.images(values)

    def images(self, latents: Tensor) -> Tensor:
        """[n, 128] -> [n, 3, S, S] in [0, 1]."""
        return (self._run(self._net, latents) + 1) / 2

    @cached_property
    def _latents(self) -> Tensor:
        return self._latents_of("validation" if self._config.searched else "victims")

    @cached_property
    def _made(self) -> Tensor:
        return self._run(nn.Sequential(*self._net.parts()[: self._depth]), self._latents)

    def _latents_of(self, who: str) -> Tensor:
        drawn = generator(self._config.seed, "gan", who)
        return torch.randn(self._count, SNGAN_LATENTS, generator=drawn)

    @torch.no_grad()
    def _run(self, module: nn.Module, inputs: Tensor) -> Tensor:
        return in_pieces(lambda part: module(part).float(), inputs, PIECE, self._place)


def generator_of(config: PointConfig, lab: Lab) -> SNGANGenerator:
    """The given one, or one trained on the point's images, once for all that want the same."""
    recipe = GanRecipe(**config.arguments)
    net = _untrained(config.model, config.size, recipe)
    if (weights := lab.sources.weights) is not None:
        load_exactly(net, read_checkpoint(weights), str(weights))
        return net.requires_grad_(False).eval()
    images = lab.data(config).train
    what = {"images": images.hash, "recipe": recipe.model_dump(mode="json"), "seed": config.seed}
    words = f"{config.model} on {config.dataset_kind}, seed {config.seed}"
    place = choose_device(lab.sources.device)
    with lab.cache.making("generators", what, words) as folder:
        kept = folder / "generator.safetensors"
        if kept.exists():
            net.load_state_dict(read_tensors(kept, f"remove {kept} to train again"))
        else:
            net, _ = train_sngan(
                images.images.to(place),
                recipe,
                seed=config.seed,
                device=place,
                checkpoint=folder / "generator.pt",
                progress=lab.progress,
            )
            write_tensors(kept, net.state_dict())
    return net.requires_grad_(False).eval()


def depth_of(split: str, net: SNGANGenerator) -> int:
    """How many parts lie before "part3": 3.

    Raises:
        UnknownName: the generator has no such part.
    """
    known = [f"part{number}" for number in range(1, len(net.parts()) + 1)]
    if split not in known:
        raise UnknownName("part of the generator", split, known)
    return known.index(split) + 1


def _untrained(model: str, size: int, recipe: GanRecipe) -> SNGANGenerator:
    """
    Raises:
        BadInput: no generator, or one that there is not in this size.
    """
    if model != MODEL:
        raise BadInput(f"{model} makes no images of latents; what is inverted so is {MODEL}")
    return SNGANGenerator(size, recipe.width)
