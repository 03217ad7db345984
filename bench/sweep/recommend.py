"""Which split point to take, and why, from the records of a sweep; a pure function."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from bench.latency.link_runs import link_names, typical
from bench.report.quantities import FLOOR, floor_is, headlines
from splitlab.contracts import Quantity
from splitlab.record import Record
from splitlab.record.latency import LINK_PREFIX

CLIENT_SHARE = 0.75  # a client that runs more than this share of the network gains little
ACCURACY_LOSS = 1.0  # points of accuracy that a better hidden feature may cost
LINK_FACTOR = 2.0  # times the fastest eligible place's latency that a link may make of a request


@dataclass(frozen=True)
class Recommendation:
    """The split point, one sentence of reason, and a warning where it still leaks."""

    split: str | None
    reason: str
    warning: str = ""


@dataclass(frozen=True)
class Leak:
    """What the best attack on one kind of secret reads at a split point.

    Args:
        quantity: the number that says whether such an attack failed.
        value, floor: the mean, and of an answer that needs nothing seen.
        floor_is: that answer in words.
        interval: of the mean; None where the record has none.
    """

    quantity: Quantity
    value: float
    floor: float
    attack: str
    floor_is: str = FLOOR
    interval: tuple[float, float] | None = None

    @classmethod
    def of(cls, record: Record, quantity: Quantity) -> Leak | None:
        """None where there is no number or no floor."""
        told, floor = record.leakage.get(quantity.name), record.floor.get(quantity.name)
        if told is None or told.mean is None or floor is None or floor.mean is None:
            return None
        return cls(
            quantity,
            told.mean,
            floor.mean,
            f"{record.config['attack']}, {record.config['knowledge']}",
            floor_is([record]),
            None if told.low is None or told.high is None else (told.low, told.high),
        )

    @property
    def gain(self) -> float:
        """How much more is revealed than by the floor."""
        return self.quantity.gain(self.value, self.floor)

    @property
    def told(self) -> str:
        """In a sentence, beside the floor."""
        return f"{self._number(self.value)}, {self.floor_is} {self._number(self.floor)}"

    def _number(self, value: float) -> str:
        quantity = self.quantity
        title = "" if quantity.suffix else f"{quantity.title or quantity.name} "
        return f"{title}{quantity.told(value)}"


@dataclass(frozen=True)
class Candidate:
    """One split point with the best attack on it.

    Args:
        leaks: of each kind of secret that was attacked here; places are judged by the first.
        links: simulated link -> ms of a request of one image: p50, or the mean where it loses.
        victims: that the accuracy is a share of; 0 where it is not known.
    """

    split: str
    index: int
    leaks: tuple[Leak, ...]
    accuracy: float
    client_share: float
    payload: float
    links: dict[str, float]
    victims: int = 0

    @property
    def leak(self) -> Leak:
        """What the place is judged by."""
        return self.leaks[0]


def places(records: Sequence[Record]) -> list[Candidate]:
    """One entry a split point, judged by the best attack that was run on it.

    Best is the one that reveals most in the number that all such attacks are judged by: PSNR for
    images. Where a run attacked more than one kind of secret, the best attack on each is kept. An
    attack that is itself no better than its floor earns the defence nothing; such a place is kept,
    with its floor beside it.
    """
    judged_by = headlines(records)
    by_split: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_split[record.split["name"]].append(record)
    found = []
    for split, group in by_split.items():
        strongest = [one for quantity in judged_by if (one := _strongest(group, quantity))]
        if not strongest or strongest[0][0].quantity != judged_by[0]:
            continue
        best = strongest[0][1]
        macs = best.split["head_macs"] + best.split["rest_macs"]
        found.append(
            Candidate(
                split=split,
                index=best.split["index"],
                leaks=tuple(leak for leak, _ in strongest),
                accuracy=best.utility["accuracy"],
                client_share=best.split["head_macs"] / max(macs, 1),
                payload=best.rate["payload_up"],
                links={
                    link: typical(best.latency[LINK_PREFIX + link])[1]
                    for link in link_names(best.latency)
                },
                victims=int(best.config.get("victims") or _most_items(group, judged_by[0])),
            )
        )
    return sorted(found, key=lambda p: p.index)


def _strongest(group: Sequence[Record], quantity: Quantity) -> tuple[Leak, Record] | None:
    """The record that reveals most in this number, and what it reveals; None without any."""
    found = [(leak, r) for r in group if (leak := Leak.of(r, quantity)) is not None]
    return max(found, key=lambda one: quantity.gain(one[0].value, 0.0), default=None)


def _most_items(group: Sequence[Record], quantity: Quantity) -> int:
    told = [r.leakage[quantity.name] for r in group if quantity.name in r.leakage]
    return max((one.items for one in told if one.mean is not None), default=0)


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

    Leakage is what the best attack reveals: the PSNR in dB where images were attacked, else the
    number that its kind is judged by; "real work" means that the client runs at most 75 % of the
    multiply-accumulates; "keeps" means within one point of the best accuracy here. Where links were
    simulated, a request must not take more than twice as long under any of them as at the fastest
    of the split points that keep the other two rules; where none of those is that quick under every
    link, the reason says so and this rule is left out.
    """
    found = places(records)
    if not found:
        return Recommendation(None, "no split point has a scored attack yet")
    top = max(p.accuracy for p in found)
    fit = [p for p in found if p.client_share <= CLIENT_SHARE and p.accuracy >= top - ACCURACY_LOSS]
    quick = [p for p in fit if not _slow(p, fit)]
    slow, fit = [p for p in fit if p not in quick], quick or fit
    shown = [p for p in fit if not p.leak.quantity.failed(p.leak.value, p.leak.floor)]
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
    best = min(shown, key=lambda p: (p.leak.quantity.gain(p.leak.value, 0.0), p.client_share))
    leak, *more = best.leaks
    reason = (
        f"least leakage among the {len(fit)} of {len(found)} split points that keep the accuracy "
        f"within {ACCURACY_LOSS:g} point and leave the server at least {1 - CLIENT_SHARE:z.0%} of "
        f"the computation{_left_out(fit, shown)}: the best attack ({leak.attack}) reaches "
        f"{leak.told}{_of_others(more)}; accuracy "
        f"{best.accuracy:z.1f} %, the client runs {best.client_share:z.0%} of the network and "
        f"sends {best.payload / 1024:z.1f} KiB an image{_on_links(best, slow)}"
    )
    return Recommendation(best.split, reason, _warning(best))


def _of_others(leaks: Sequence[Leak]) -> str:
    """What was attacked besides."""
    return "".join(f"; {leak.attack} reaches {leak.told}" for leak in leaks)


def _warning(best: Candidate) -> str:
    """Of what still leaks there, "" for nothing that shows for itself."""
    clear = [
        f"{one.quantity.number(one.gain)}{one.quantity.suffix} above {one.floor_is}"
        for one in best.leaks
        if one.quantity.clear is not None and one.gain >= one.quantity.clear
    ]
    if not clear:
        return ""
    return (
        f"it still leaks: {', '.join(clear)}; a deeper cut or a defence is needed where this must "
        "stay hidden"
    )
