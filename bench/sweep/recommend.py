"""Which split point to take, and why, from the records of a sweep; a pure function."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from bench.latency.link_runs import link_names, typical
from splitlab.metrics.image.psnr import METRIC as PSNR
from splitlab.record import Record
from splitlab.record.latency import LINK_PREFIX

CLIENT_SHARE = 0.75  # a client that runs more than this share of the network gains little
ACCURACY_LOSS = 1.0  # points of accuracy that a better hidden feature may cost
LINK_FACTOR = 2.0  # times the fastest eligible place's latency that a link may make of a request
CLEAR_OF_FLOOR = 3.0  # dB above the mean image from which a reconstruction shows the image


@dataclass(frozen=True)
class Recommendation:
    """The split point, one sentence of reason, and a warning where it still leaks."""

    split: str | None
    reason: str
    warning: str = ""


@dataclass(frozen=True)
class Candidate:
    """One split point with the best attack on it.

    Args:
        links: simulated link -> ms of a request of one image: p50, or the mean where it loses.
        interval: of the PSNR in dB; None where the record has none.
        victims: that the accuracy is a share of; 0 where it is not known.
    """

    split: str
    index: int
    psnr: float
    attack: str
    floor: float
    accuracy: float
    client_share: float
    payload: float
    links: dict[str, float]
    interval: tuple[float, float] | None = None
    victims: int = 0


def places(records: Sequence[Record]) -> list[Candidate]:
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
        leak = best.leakage["psnr"]
        found.append(
            Candidate(
                split=split,
                index=best.split["index"],
                psnr=leak.mean or 0.0,
                attack=f"{best.config['attack']}, {best.config['knowledge']}",
                floor=best.floor["psnr"].mean or 0.0,
                accuracy=best.utility["accuracy"],
                client_share=best.split["head_macs"] / max(macs, 1),
                payload=best.rate["payload_up"],
                links={
                    link: typical(best.latency[LINK_PREFIX + link])[1]
                    for link in link_names(best.latency)
                },
                interval=None if leak.low is None or leak.high is None else (leak.low, leak.high),
                victims=int(
                    best.config.get("victims") or max(r.leakage["psnr"].items for r in group)
                ),
            )
        )
    return sorted(found, key=lambda p: p.index)


def _slow(place: Candidate, fit: Sequence[Candidate]) -> bool:
    """Whether a request takes far longer there, under some link, than where it is fastest of those
    that may be taken.
    """
    return any(
        value > LINK_FACTOR * min(p.links[link] for p in fit if link in p.links)
        for link, value in place.links.items()
    )


def _left_out(fit: list[Candidate], shown: list[Candidate]) -> str:
    count = len(fit) - len(shown)
    return f", {count} left out as every attack failed there" if count else ""


def _on_links(best: Candidate, slow: Sequence[Candidate]) -> str:
    if not best.links:
        return ""
    told = ", ".join(f"{value:z.0f} ms over {link}" for link, value in best.links.items())
    note = f" (too slow over a link: {', '.join(p.split for p in slow)})" if slow else ""
    if best in slow:
        note = (
            f" (no split point that could be taken is within {LINK_FACTOR:g} times the fastest of "
            "them under every link)"
        )
    return f"; a request takes {told}{note}"


def recommend(records: Sequence[Record]) -> Recommendation:
    """The least leaking split point that leaves the server real work and keeps the accuracy.

    Leakage is the PSNR in dB of the best attack; "real work" means that the client runs at most
    75 % of the multiply-accumulates; "keeps" means within one point of the best accuracy here.
    Where links were simulated, a request must not take more than twice as long under any of them
    as at the fastest of the split points that keep the other two rules; where none of those is that
    quick under every link, the reason says so and this rule is left out.
    """
    found = places(records)
    if not found:
        return Recommendation(None, "no split point has a scored attack yet")
    top = max(p.accuracy for p in found)
    fit = [p for p in found if p.client_share <= CLIENT_SHARE and p.accuracy >= top - ACCURACY_LOSS]
    quick = [p for p in fit if not _slow(p, fit)]
    slow, fit = [p for p in fit if p not in quick], quick or fit
    shown = [p for p in fit if not PSNR.failed(p.psnr, p.floor)]
    if fit and not shown:
        return Recommendation(
            None,
            "every attack failed at every split point that could be taken, which shows nothing to "
            "be hidden; run a stronger attack",
        )
    if not fit:
        return Recommendation(
            None,
            f"no split point keeps the accuracy within {ACCURACY_LOSS:g} point of {top:z.1f} % "
            f"and leaves the server at least {1 - CLIENT_SHARE:z.0%} of the computation",
        )
    best = min(shown, key=lambda p: (p.psnr, p.client_share))
    reason = (
        f"least leakage among the {len(fit)} of {len(found)} split points that keep the accuracy "
        f"within {ACCURACY_LOSS:g} point and leave the server at least {1 - CLIENT_SHARE:z.0%} of "
        f"the computation{_left_out(fit, shown)}: the best attack ({best.attack}) recovers "
        f"{best.psnr:z.1f} dB, the mean image {best.floor:z.1f} dB; accuracy "
        f"{best.accuracy:z.1f} %, the client runs {best.client_share:z.0%} of the network and "
        f"sends {best.payload / 1024:z.1f} KiB an image{_on_links(best, slow)}"
    )
    gain = best.psnr - best.floor
    warning = ""
    if gain >= CLEAR_OF_FLOOR:
        warning = (
            f"it still leaks: {gain:z.1f} dB above the mean image; a deeper cut or a defence is "
            "needed where images must stay hidden"
        )
    return Recommendation(best.split, reason, warning)
