"""Who reads more in the same time: differences paired over victims, and what they allow to say."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from statistics import fmean
from typing import Literal, NamedTuple

import torch

from bench.perf.attacks.records import AttackRow
from splitlab.errors import BadInput
from splitlab.metrics import Interval, mean_interval

Word = Literal["stronger", "at least as strong", "not told apart", "weaker"]
ScoreName = Literal["psnr", "ssim"]
WEAKER: Word = "weaker"
NOT_TOLD_APART: Word = "not told apart"


class Difference(NamedTuple):
    """Ours minus a peer's, in one metric.

    Args:
        ours, peer: means over all victims of all seeds.
        interval: of the difference, with its 95 % interval.
        word: what it allows to say of ours.
    """

    ours: float
    peer: float
    interval: Interval
    word: Word


class Comparison(NamedTuple):
    """One line of the table.

    Args:
        ours: our attack at this depth and budget; None where none was finished.
        seconds: that it took, of its slowest seed.
        peer_means: PSNR and SSIM of the peer over all victims of all seeds.
        pairs: victims that were compared.
        psnr, ssim: None where none of ours was finished.
        queries_alone: whether ours, too, was one that knows queries and no head.
    """

    split: str
    budget: float
    peer: str
    ours: str | None
    seconds: float | None
    peer_means: tuple[float, float]
    pairs: int
    psnr: Difference | None
    ssim: Difference | None
    queries_alone: bool = False

    @property
    def weaker(self) -> bool:
        """Whether ours is behind in one of the two, or was not finished."""
        return any(one is None or one.word == WEAKER for one in (self.psnr, self.ssim))

    @property
    def not_told_apart(self) -> bool:
        """Whether it is not weaker, and yet its mean is behind in one of the two."""
        words = [one.word for one in (self.psnr, self.ssim) if one is not None]
        return NOT_TOLD_APART in words and not self.weaker


def word_for(interval: Interval) -> Word:
    """What a difference allows to say: told apart is what its interval leaves off zero.

    Of a single group there is no interval, and the mean alone speaks.
    """
    mean, low, high = interval
    if low is None or high is None:
        return "at least as strong" if mean >= 0 else WEAKER
    if low > 0:
        return "stronger"
    if high < 0:
        return WEAKER
    return "at least as strong" if mean >= 0 else NOT_TOLD_APART


def standing(ours: Iterable[AttackRow], budget: float, order: Sequence[str]) -> str | None:
    """Which of our attacks stands at one split point: the first that was finished in time.

    It was under every seed. No image is looked at, so that nothing is paid for choosing.

    Args:
        ours: rows of our attacks there, under all seeds.
        order: their names, strongest first; one that is not among them never stands.
    """
    by_name: dict[str, list[AttackRow]] = {}
    for row in ours:
        by_name.setdefault(row.contender, []).append(row)
    seeds = {row.seed for rows in by_name.values() for row in rows}
    for name in order:
        rows = by_name.get(name, [])
        if rows and {row.seed for row in rows} == seeds and all(row.at(budget) for row in rows):
            return name
    return None


def compared(
    ours: Sequence[AttackRow],
    peers: Sequence[AttackRow],
    budgets: Sequence[float],
    order: Sequence[str],
    asking: Collection[str] = (),
) -> list[Comparison]:
    """Every peer at every split point and budget, in the order in which they are given.

    A peer that knows queries alone meets ours twice: the strongest of all, and the strongest of
    those that know no more than it does. Where no attack of ours was measured at all, there is
    nothing to compare.

    Args:
        ours, peers: all rows, of whichever splits and seeds.
        order: names of ours, strongest first.
        asking: names of ours and of peers that know queries alone.
    """
    found: list[Comparison] = []
    for split in dict.fromkeys(row.split for row in peers):
        own = [row for row in ours if row.split == split]
        rivals = [row for row in peers if row.split == split]
        equal = [row for row in own if row.contender in asking]
        blind = [row for row in rivals if row.contender in asking]
        for mine, theirs, alone in ((own, rivals, False), (equal, blind, True)):
            if mine:
                found += _at_a_split(split, mine, theirs, budgets, order, alone)
    return found


def _at_a_split(
    split: str,
    own: Sequence[AttackRow],
    peers: Sequence[AttackRow],
    budgets: Sequence[float],
    order: Sequence[str],
    queries_alone: bool,
) -> Iterator[Comparison]:
    for budget in budgets:
        name = standing(own, budget, order)
        taken = [row for row in own if row.contender == name]
        for peer in dict.fromkeys(row.contender for row in peers):
            rivals = [row for row in peers if row.contender == peer]
            one = _compared(split, budget, peer, name, taken, rivals)
            yield one._replace(queries_alone=queries_alone)


def _compared(
    split: str,
    budget: float,
    peer: str,
    name: str | None,
    ours: Sequence[AttackRow],
    rivals: Sequence[AttackRow],
) -> Comparison:
    by_seed = {row.seed: row for row in rivals}
    means = (_mean(rivals, budget, "psnr"), _mean(rivals, budget, "ssim"))
    pairs = [(row, by_seed[row.seed]) for row in ours if row.seed in by_seed]
    if name is None or not pairs:
        return Comparison(split, budget, peer, name, None, means, 0, None, None)
    return Comparison(
        split,
        budget,
        peer,
        name,
        max(row.readings[0].seconds for row, _ in pairs),
        means,
        sum(len(row.groups) for row, _ in pairs),
        difference(pairs, budget, "psnr"),
        difference(pairs, budget, "ssim"),
    )


def difference(
    pairs: Sequence[tuple[AttackRow, AttackRow]], budget: float, metric: ScoreName
) -> Difference:
    """Ours minus a peer's over all victims of all seeds, paired; resampled are whole groups.

    Args:
        pairs: (ours, the peer's) of the same victims.

    Raises:
        BadInput: rows of other victims, or a peer that was not read at this budget.
    """
    mine: list[float] = []
    other: list[float] = []
    groups: list[int] = []
    for own, rival in pairs:
        if own.groups != rival.groups:
            raise BadInput(
                f"{own.contender} and {rival.contender} at {own.split}, seed {own.seed}, were "
                "measured on other victims; measure both again in another --out"
            )
        mine += values_by(own, budget, metric)
        other += values_by(rival, budget, metric)
        groups += own.groups
    first, second = (torch.tensor(one, dtype=torch.float64) for one in (mine, other))
    interval = mean_interval(first - second, torch.tensor(groups))
    return Difference(float(first.mean()), float(second.mean()), interval, word_for(interval))


def values_by(row: AttackRow, budget: float, metric: ScoreName) -> tuple[float, ...]:
    """A number a victim, of what it had by then.

    Of a peer it is the best that it had at any budget up to this one, in the mean over the victims:
    its own code would have kept the best epoch, and that it goes on longer shall not harm it.

    Raises:
        BadInput: it was not read at this budget.
    """
    if row.at(budget) is None:
        raise BadInput(f"{row.contender} at {row.split}, seed {row.seed}, has no reading there")
    had = [one for one in row.readings if one.budget is None or one.budget <= budget]
    values: list[tuple[float, ...]] = [getattr(one, metric) for one in had]
    return max(values, key=fmean)


def _mean(rows: Sequence[AttackRow], budget: float, metric: ScoreName) -> float:
    return fmean(value for row in rows for value in values_by(row, budget, metric))
