"""Which bodies a shadow is trained through, on which images, and whether it learned anything (Liu
and Xiong 2024, "Ensembler", sections 3 and 4.4).
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch

from adversary.contract.threat import AuxImages, ThreatModel
from adversary.inversion.shadow.training import Judgement, TrainedShadow
from splitlab.data import ImageSet
from splitlab.errors import BadInput

MOST_SEARCHED = 5
"""Bodies up to which all subsets are tried."""
HELD_OUT = 10
"""One of so many auxiliary images is held out where no validation images are granted."""
CHANCE = 5.0
"""Points of accuracy that a shadow has to be above guessing, or three standard errors if more."""


def subsets(bodies: str, threat: ThreatModel, who: str) -> list[tuple[int, ...]]:
    """Sets of bodies to train a shadow through, one after another.

    Args:
        bodies: the attack's setting: all, oracle, search, top-P, or numbers such as 0,2.

    Raises:
        MissingKnowledge: the bodies, the selector or P, where it takes them.
        BadInput: a body that is not there, a P out of range, or too many subsets.
    """
    total = len(threat.need("bodies", who))
    everything = tuple(range(total))
    if bodies == "all":
        return [everything]
    if bodies == "top-P":
        _check_chosen(threat.need("P", who), total, who)
        return [everything]
    if bodies == "search":
        return _all_subsets(total, threat.P, who)
    if bodies == "oracle":
        ids = tuple(sorted(threat.need("selector", who)))
    else:
        ids = tuple(int(part) for part in bodies.split(","))
    if max(ids) >= total:
        raise BadInput(
            f"{who}, bodies={bodies}: there are {total} bodies, numbered from 0 to {total - 1}; "
            "name some of them"
        )
    return [ids]


def _all_subsets(total: int, chosen: int | None, who: str) -> list[tuple[int, ...]]:
    """Every non-empty subset, or those of `chosen` bodies where P is known; small ones first."""
    sizes = range(1, total + 1)
    if chosen is not None:
        _check_chosen(chosen, total, who)
        sizes = range(chosen, chosen + 1)
    if total > MOST_SEARCHED:
        count = sum(math.comb(total, size) for size in sizes)
        raise BadInput(
            f"{who}, bodies=search: {total} bodies have {count:,} subsets to train a shadow for; "
            f"the search is for at most {MOST_SEARCHED} bodies, use bodies=all or bodies=top-P"
        )
    return [ids for size in sizes for ids in itertools.combinations(range(total), size)]


def _check_chosen(chosen: int, total: int, who: str) -> None:
    if not 1 <= chosen <= total:
        raise BadInput(f"{who}: P={chosen} of {total} bodies; grant a P from 1 to {total}")


def partition(own: AuxImages, who: str) -> tuple[ImageSet, ImageSet]:
    """(to learn from, to judge by): the granted validation images, else every tenth image.

    Raises:
        BadInput: fewer than two images.
    """
    if len(own.images) < 2:
        raise BadInput(f"{who} has {len(own.images)} images to learn from; grant it at least 2")
    if len(own.validation):
        return own.images, own.validation
    held_out = torch.arange(len(own.images)) % HELD_OUT == 0
    kept, taken = ((~held_out).nonzero()[:, 0], held_out.nonzero()[:, 0])
    return own.images.subset(kept), own.images.subset(taken)


def guessing(held_out: ImageSet) -> float:
    """Accuracy in % of always naming the most frequent class."""
    return 100 * float(held_out.labels.bincount().max()) / len(held_out)


def facts_of(
    best: TrainedShadow, tried: list[dict[str, Any]], held_out: ImageSet
) -> dict[str, Any]:
    """What a record says of the shadow that was kept, and of all that were tried."""
    gates = best.net.gate.settled()
    facts = {
        **best.facts(),
        "bodies": [i for i, gate in zip(best.ids, gates, strict=True) if gate > 0],
        "gates": gates,
        "guessing": guessing(held_out),
        "losses": best.history.losses.get("net", []),
        "shadow_seconds": round(sum(one["seconds"] for one in tried), 3),
    }
    return facts | ({"tried": tried} if len(tried) > 1 else {})


def price_of(bodies: int, tried: int, seconds: float) -> dict[str, Any]:
    """What the search took, beside the paper's count of 2^N - 1 subsets."""
    return {
        "subsets": tried,
        "all_subsets": 2**bodies - 1,
        "seconds_a_subset": round(seconds / tried, 3),
    }


def doubts_of(judged: Judgement, held_out: ImageSet) -> list[str]:
    """Whether the shadow learned anything; where it did not, its features tell nothing."""
    chance = guessing(held_out)
    error = math.sqrt(chance * (100 - chance) / len(held_out))
    if judged.accuracy >= chance + max(CHANCE, 3 * error):
        return []
    return [
        f"shadow: {judged.accuracy:z.1f} % of {len(held_out)} held-out images, guessing gives "
        f"{chance:z.1f} %; it did not learn the task through the bodies"
    ]
