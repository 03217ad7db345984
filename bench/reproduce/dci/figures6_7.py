"""Figures 6 and 7 of DCI (Dong et al.): a generator inverted block by block, a second generation of
images, and interpolation between recovered latents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bench.point.setup import Place, Scale, Setup
from bench.reproduce.dci.setup import SOURCE
from bench.reproduce.frame.columns import Fact, FactColumn, Here, number_at
from bench.reproduce.frame.experiment import Claim, Experiment, Line, Measurement
from bench.reproduce.frame.request import ExperimentRequest
from bench.reproduce.frame.run import Framed
from splitlab.contracts.quantity import Digits
from splitlab.training import TrainRecipe
from splitlab.training.gan import GanRecipe

NAME = "dci-gan"
ENOUGH_DB = 20.0
"""PSNR of the second generation that counts as close."""
IMAGES = "the images"
NOTES = (
    "x = G(z) for latents of a victim; z' = inverse(x); x'' = G(z'). The inverse learned on the "
    "adversary's own latents, of which there are as many as it likes; no image is granted.",
    "Floors: the latent 0, which an inverse that learned nothing could answer, and the mean of the "
    "generator's images. Rows of inner parts start from the true output of that part.",
)


@dataclass(frozen=True)
class GanScale:
    """One scale.

    Args:
        parts: of the generator at this size.
        attack: hyper-parameters of the inverse.
        victims: latents that are recovered.
    """

    size: int
    parts: int
    dataset: str
    train: int | None
    gan: GanRecipe
    attack: Mapping[str, Any]
    victims: int


SCALES: Mapping[Scale, GanScale] = {
    "quick": GanScale(
        size=32,
        parts=5,
        dataset="photo-patches",
        train=2000,
        gan=GanRecipe(width=32, epochs=24, rounds=2),
        attack={"latents": 8192, "tune_epochs": 3, "tune_rate": 3e-4, "batch_size": 64},
        victims=256,
    ),
    "paper": GanScale(
        size=128,
        parts=7,
        dataset="",
        train=None,
        gan=GanRecipe(width=1024, epochs=300, rounds=2),
        attack={"latents": 192_000, "tune_epochs": 1, "tune_rate": 1e-4, "batch_size": 32},
        victims=1000,
    ),
}


def over_the_mean(here: Here) -> float | None:
    """By how many dB the second generation is nearer than the mean of the generator's images."""
    return _difference(here, "leakage.second_generation_psnr.mean", "utility.mean_image_psnr")


def nearer_than_zero(here: Here) -> float | None:
    """By how much z' is nearer to z than 0 is."""
    return _difference(here, "floor.latent_error.mean", "leakage.latent_error.mean")


def _difference(here: Here, *paths: str) -> float | None:
    one, other = (number_at(here.record, path) for path in paths)
    return None if one is None or other is None else one - other


COLUMNS = (
    "second_generation_psnr",
    "second_generation_ssim",
    FactColumn(
        "over_the_mean",
        "dB",
        "rises",
        title="over the mean image",
        digits=Digits(means=2),
        fact=Fact(over_the_mean),
    ),
    "latent_error",
    FactColumn(
        "nearer_than_zero", "1", "rises", title="nearer than 0", fact=Fact(nearer_than_zero)
    ),
    FactColumn("latent_mean", "1", "rises", title="z' mean", fact=Fact("attack_facts.latent_mean")),
    FactColumn(
        "latent_variance", "1", "rises", title="z' var.", fact=Fact("attack_facts.latent_variance")
    ),
    "latent_ks",
)


def declared(scale: Scale) -> Experiment:
    """A row for the images, and one for the output of each inner part."""
    own = SCALES[scale]
    lines = [
        Line(
            IMAGES if part == own.parts else f"output of part {part}",
            "inverse",
            (
                Measurement(
                    f"part{part}",
                    Place(f"part{part}", head_end=f"part{part}"),
                    "generator-inverse",
                    own.attack,
                    frozenset({"head", "bodies"}),
                    share=0.0,
                    limit=own.victims,
                ),
            ),
            best="latent_error",
        )
        for part in (own.parts, *range(1, own.parts))
    ]
    of_images = lines[0].key
    close = f"The second generation is close to the first (above {ENOUGH_DB:g} dB)"
    return Experiment(
        name=NAME,
        title="DCI, Figures 6 and 7",
        source=f"{SOURCE}, Figures 6 and 7",
        scale=scale,
        setup=Setup(
            model="sngan",
            arguments=own.gan.model_dump(mode="json"),
            dataset=own.dataset,
            size=own.size,
            head_end=of_images,
            tail_start=None,
            recipe=TrainRecipe(),
            train=own.train,
        ),
        lines=tuple(lines),
        claims=(
            Claim(close, "second_generation_psnr", of_images, "at least", margin=ENOUGH_DB),
            Claim(
                "It is closer than the mean of the generator's images",
                "over_the_mean",
                of_images,
                "at least",
            ),
            Claim(
                "Recovered latents are nearer to the true ones than 0 is",
                "nearer_than_zero",
                of_images,
                "at least",
            ),
        ),
        notes=NOTES,
        columns=COLUMNS,
        baseline=of_images,
    )


class OfGenerators(Framed):
    """Given generators need no images."""

    UNUSED = (*Framed.UNUSED, "lpips_weights", "secret_seed")

    def experiment(self, request: ExperimentRequest) -> Experiment:
        found = super().experiment(request)
        if request.weights is None or found.setup.dataset:
            return found
        nominal = found.setup.model_copy(update={"dataset": SCALES["quick"].dataset})
        told = f"The generator was given; none of {nominal.dataset} was used."
        return replace(found, setup=nominal, notes=(*found.notes, told))


figures = OfGenerators(declared)
