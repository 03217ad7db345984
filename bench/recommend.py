"""Which split point to take, and why, from the records of a sweep; a pure function."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from bench.doubtful import FLOOR_MARGIN_DB
from splitlab.record import Record

CLIENT_SHARE = 0.75  # a client that runs more than this share of the network gains little
ACCURACY_LOSS = 1.0  # points of accuracy that a better hidden feature may cost
CLEAR_OF_FLOOR = 3.0  # dB above the mean image from which a reconstruction shows the image


@dataclass(frozen=True)
class Recommendation:
    """The split point, one sentence of reason, and a warning where it still leaks."""

    split: str | None
    reason: str
    warning: str = ""


@dataclass(frozen=True)
class Place:
    """One split point with the best attack on it."""

    split: str
    index: int
    psnr: float
    attack: str
    floor: float
    accuracy: float
    client_share: float
    payload: float


def places(records: Sequence[Record]) -> list[Place]:
    """One entry a split point, judged by the best attack that was run on it (highest PSNR).

    An attack that is itself no better than the mean image earns the defence nothing; such a place
    is kept, with its floor beside it.
    """
    by_split: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.leakage.get("psnr") and record.leakage["psnr"].mean is not None:
            by_split[record.split["name"]].append(record)
    found = []
    for split, group in by_split.items():
        best = max(group, key=lambda r: r.leakage["psnr"].mean or 0.0)
        macs = best.split["head_macs"] + best.split["rest_macs"]
        found.append(
            Place(
                split=split,
                index=best.split["index"],
                psnr=best.leakage["psnr"].mean or 0.0,
                attack=f"{best.config['attack']}, {best.config['knowledge']}",
                floor=best.floor["psnr"].mean or 0.0,
                accuracy=best.utility["accuracy"],
                client_share=best.split["head_macs"] / max(macs, 1),
                payload=best.rate["payload_up"],
            )
        )
    return sorted(found, key=lambda p: p.index)


def _left_out(fit: list[Place], shown: list[Place]) -> str:
    count = len(fit) - len(shown)
    return f", {count} left out as every attack failed there" if count else ""


def recommend(records: Sequence[Record]) -> Recommendation:
    """The least leaking split point that leaves the server real work and keeps the accuracy.

    Leakage is the PSNR in dB of the best attack; "real work" means that the client runs at most
    75 % of the multiply-accumulates; "keeps" means within one point of the best accuracy here.
    """
    found = places(records)
    if not found:
        return Recommendation(None, "no split point has a scored attack yet")
    top = max(p.accuracy for p in found)
    fit = [p for p in found if p.client_share <= CLIENT_SHARE and p.accuracy >= top - ACCURACY_LOSS]
    shown = [p for p in fit if p.psnr - p.floor > FLOOR_MARGIN_DB]
    if fit and not shown:
        return Recommendation(
            None,
            "every attack failed at every split point that could be taken, which shows nothing to "
            "be hidden; run a stronger attack",
        )
    if not fit:
        return Recommendation(
            None,
            f"no split point keeps the accuracy within {ACCURACY_LOSS:g} point of {top:.1f} % "
            f"and leaves the server at least {1 - CLIENT_SHARE:.0%} of the computation",
        )
    best = min(shown, key=lambda p: (p.psnr, p.client_share))
    reason = (
        f"least leakage among the {len(fit)} of {len(found)} split points that keep the accuracy "
        f"within {ACCURACY_LOSS:g} point and leave the server at least {1 - CLIENT_SHARE:.0%} of "
        f"the computation{_left_out(fit, shown)}: the best attack ({best.attack}) recovers "
        f"{best.psnr:.1f} dB, the mean image {best.floor:.1f} dB; accuracy {best.accuracy:.1f} %, "
        f"the client runs {best.client_share:.0%} of the network and sends "
        f"{best.payload / 1024:.1f} KiB an image"
    )
    gain = best.psnr - best.floor
    warning = ""
    if gain >= CLEAR_OF_FLOOR:
        warning = (
            f"it still leaks: {gain:.1f} dB above the mean image; a deeper cut or a defence is "
            "needed where images must stay hidden"
        )
    return Recommendation(best.split, reason, warning)
