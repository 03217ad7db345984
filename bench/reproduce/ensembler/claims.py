"""The directions that Ensembler's tables state (Liu and Xiong 2024, section 5), as data."""

from __future__ import annotations

from collections.abc import Sequence

from bench.point.setup import Scale
from bench.reproduce.ensembler.attacks import PIPELINES, SHORT, Pipeline
from bench.reproduce.frame.experiment import Claim

LEAKAGE = ("ssim", "psnr")
POINTS = 3.0
"""Accuracy that Ensembler may lose, in points."""


def accuracy_claim(place: str) -> Claim:
    """The accuracy of `place` against the undefended network's."""
    return Claim(
        f"Ensembler's accuracy is at most {POINTS:g} points below NONE's",
        "accuracy_change",
        f"{place}/ceiling",
        "at least",
        margin=-POINTS,
        otherwise="the price in accuracy is higher than the paper's",
    )


def protection_claims(
    place: str,
    single: str,
    scale: Scale,
    kinds: Sequence[Pipeline] = PIPELINES,
    *,
    best: bool = True,
) -> list[Claim]:
    """Adaptive and best single-body reconstructions below those of Single, in both metrics."""
    found = []
    for kind in kinds:
        for metric in LEAKAGE:
            than = f"{single}/0/{kind}"
            name = metric.upper()
            found.append(
                Claim(
                    f"{name} of Adaptive is below Single's ({SHORT[scale][kind]})",
                    metric,
                    f"{place}/all/{kind}",
                    "below",
                    than,
                    otherwise="N bodies with a secret choice hide no more than one noisy network",
                )
            )
            if best:
                found.append(
                    Claim(
                        f"{name} of the best N = 1 is below Single's ({SHORT[scale][kind]})",
                        metric,
                        f"{place}/best {metric}/{kind}",
                        "below",
                        than,
                        otherwise="one body alone tells as much of the head as Single's does",
                    )
                )
    return found


def oracle_claims(place: str, scale: Scale, kinds: Sequence[Pipeline] = PIPELINES) -> list[Claim]:
    """Knowing the selector helps; else its secrecy keeps nothing from this attack."""
    return [
        Claim(
            f"{metric.upper()} with the selector granted is above Adaptive's "
            f"({SHORT[scale][kind]})",
            metric,
            f"{place}/oracle/{kind}",
            "above",
            f"{place}/all/{kind}",
            otherwise="knowing the selector buys this attack nothing",
        )
        for kind in kinds
        for metric in LEAKAGE
    ]
