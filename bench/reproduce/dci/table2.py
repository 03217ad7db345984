"""Table 2 of DCI (Dong et al.): data-free attacks on one deep split point, in quality and time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bench.point.setup import Scale
from bench.reproduce.dci.notes import NATURAL_NOTE, PAPER_SCALE_NOTE
from bench.reproduce.dci.quality import MAKING, quality
from bench.reproduce.dci.setup import MADE, NATURAL, updates
from bench.reproduce.dci.study import DciStudy, Spot, movable
from bench.reproduce.frame.experiment import Claim, Experiment, Line, Measurement
from bench.reproduce.frame.extra import lpips_orders

DEPTHS: Mapping[Scale, tuple[int, ...]] = {"quick": (5, 8), "paper": (21,)}
SYNTHETIC_DB = 1.5
"""By how much real images may help DCI and synthetic ones still count as good."""
NUMBERS = ("mse", "lpips", "psnr", "seconds")
PUBLISHED: Mapping[str, tuple[float, ...]] = {
    "psim": (0.092, 0.725, 9.080, 2.4e-1),
    "gmi": (0.104, 0.751, 9.395, 7.2e-2),
    "rmle": (0.082, 1.082, 10.90, 2.1e2),
    "ddream": (0.186, 0.904, 9.534, 5.5e2),
    "di": (0.080, 0.602, 10.93, 1.9e3),
    "dci": (0.013, 0.443, 18.83, 1.5e-2),
}
"""Seconds are for four images on a V100; RepVGG-A0, block 21."""
METHODS = (
    ("psim", "PSiM"),
    ("gmi", "GMI on features"),
    ("rmle", "rMSE"),
    ("ddream", "DDream"),
    ("di", "DI"),
    ("decoder", "decoder on synthetic pairs"),
    ("dci", "DCI"),
)
RIVALS = METHODS[:-1]
SEARCHING = frozenset({"rmle", "ddream", "di"})
"""Those that learn from no images; the others do from the synthetic ones."""
FEATURE = {"feature": 1.0, "roll": 0, "flip": 0.0}
"""As the preset of this name; settings, since those of the scale would win over a preset."""


@movable
def table2(study: DciStudy) -> Experiment:
    """Every rival, DCI, and DCI on as many real images; the paper's numbers are of its own network
    and place, and stand beside no other's.
    """
    depths = DEPTHS[study.scale]
    spots = [study.spot(depth) for depth in (depths[:1] if study.target else depths)]
    nearer = tuple(
        (
            f"DCI is nearer to the image than {label} ({spot.label})",
            f"{spot.place.name}/dci",
            f"{spot.place.name}/{attack}",
        )
        for spot in spots
        for attack, label in RIVALS
    )
    shown = [f"{spot.place.name}/{attack}" for spot in spots for attack, _ in METHODS]
    return study.experiment(
        "table2",
        ", Table 2",
        (line for spot in spots for line in _lines(study, spot)),
        notes=study.told(NATURAL_NOTE, *((PAPER_SCALE_NOTE,) if study.scale == "paper" else ())),
        claims=tuple(claim for spot in spots for claim in _claims(study, spot)),
        baseline=spots[0].place.name,
        tables=(quality(shown, paper=not study.target), lpips_orders(nearer)),
        timed=True,
    )


def _lines(study: DciStudy, spot: Spot) -> Iterator[Line]:
    def line(one: Measurement, label: str, how: str = "data-free, the lab's", **more: Any) -> Line:
        return Line(f"{spot.label}: {label}", how, (one,), **more)

    scale, place = study.scale, spot.place
    for attack, label in METHODS:
        told = {
            "block": spot.label.removeprefix("block "),
            "method": label,
            "updates": f"{updates(scale, attack, spot.depth):,}",
            **(dict.fromkeys(MAKING, "") if attack in SEARCHING else {}),
        }
        paper = {} if study.target else dict(zip(NUMBERS, PUBLISHED.get(attack, ()), strict=False))
        yield line(study.data_free(place, attack), label, "data-free", paper=paper, told=told)
    if scale == "paper":
        drawn = study.data_free(place, "di", name="di-feature", options=FEATURE)
        yield line(drawn, "DI with the feature's loss")
    natural = study.data_free(place, "dci", name="natural", made=NATURAL[scale])
    yield line(natural, "DCI, images from natural noise")
    yield line(study.on_real(place, MADE[scale].images), "DCI on real images", "real")
    prior = study.spectral(place)
    yield line(prior, "rMSE in natural coordinates", "data-free, the lab's")
    begun = study.from_dci(place, NATURAL[scale])
    yield line(begun, "rMSE from DCI's image (natural noise)", "data-free, the lab's")
    yield line(study.ceiling(place), "ceiling", "decoder with queries")
    yield line(study.white_box(place), "rmle from a decoder", "white box with queries")


def _claims(study: DciStudy, spot: Spot) -> Iterator[Claim]:
    place = spot.place.name
    for attack, label in RIVALS:
        yield Claim(
            f"DCI is above {label} in PSNR at {spot.label}",
            "psnr",
            f"{place}/dci",
            "above",
            f"{place}/{attack}",
            otherwise="this rival reads as much or more here",
        )
    yield Claim(
        f"DCI is above rMSE in natural coordinates in PSNR at {spot.label}",
        "psnr",
        f"{place}/dci",
        "above",
        f"{place}/rmle-spectral",
        otherwise="a rival that the paper does not have reads as much or more here",
    )
    for name, made in (
        ("dci", "synthetic images"),
        ("natural", "synthetic images from natural noise"),
    ):
        near = f"within {SYNTHETIC_DB:g} dB of DCI on as many real ones ({spot.label})"
        yield Claim(
            f"DCI on {made} is {near}",
            "psnr",
            f"{place}/{name}",
            "near",
            f"{place}/real-{MADE[study.scale].images}",
            margin=SYNTHETIC_DB,
            otherwise="images made of batch norms do not replace real ones here",
        )
