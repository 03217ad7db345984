"""Can members be told from others without the network? Then an attack's success is not the leak's.

Blind baselines: Das, Zhang & Tramer 2024, "Blind Baselines Beat Membership Inference Attacks for
Foundation Models".
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from splitlab.data import ImageSet
from splitlab.metrics.membership import auc
from splitlab.randomness import generator

SIDE, FOLDS = 8, 5
NEAR, RIDGE = 0.1, 0.5
"""Share of the pairs within the kernel's width, and its regulariser."""
MOST = 1_000
"""Records that are looked at."""
SURE = 1.96
"""Standard errors above chance, from which on a blind classifier has found something."""


def blind_doubts(records: ImageSet, member: Tensor) -> tuple[str, ...]:
    """What the records' own images say against them as a test of membership.

    Args:
        member: bool [n].
    """
    some = range(0, len(records), math.ceil(len(records) / MOST))
    records, member = records.subset(some), member[list(some)]
    found = []
    if records.rectangles is not None and parted(records.rectangles, member):
        found.append(
            "members and non-members are cut from other parts of the same photographs: what an "
            "attack finds may be the part and not the membership"
        )
    value, error = blind_auc(records, member), chance_error(member)
    if value > 0.5 + SURE * error:
        found.append(
            "members and non-members differ without any network: a classifier of the images alone "
            f"tells them apart with an AUC of {value:z.3f} (chance 0.5, error {error:z.3f})"
        )
    return tuple(found)


def blind_auc(records: ImageSet, member: Tensor) -> float:
    """AUC of a kernel ridge regression on images of 8 pixels; each record is judged by a fit to
    the other folds.

    A fold has its share of members and of others: a fit to fewer members doubts each record that
    it judges, more members among them, and folds drawn from all would lie below chance.
    """
    pixels = F.adaptive_avg_pool2d(records.floats(), min(SIDE, records.size)).flatten(1).double()
    far = torch.cdist(pixels, pixels).square()
    alike = torch.exp(-far / far[far > 0].quantile(NEAR)) if bool((far > 0).any()) else far
    target = member.double() * 2 - 1
    fold, draw = torch.zeros(len(member), dtype=torch.int64), generator(0, "blind")
    for side in (member, ~member):
        fold[side] = torch.randperm(int(side.sum()), generator=draw) % FOLDS
    scores = torch.zeros_like(target)
    for one in range(FOLDS):
        held, rest = fold == one, fold != one
        ridge = RIDGE * torch.eye(int(rest.sum()), dtype=torch.float64)
        weights = torch.linalg.solve(alike[rest][:, rest] + ridge, target[rest])
        scores[held] = alike[held][:, rest] @ weights
    return auc(member, scores)


def chance_error(member: Tensor) -> float:
    """Standard error of an AUC where there is nothing to find (Mann and Whitney 1947)."""
    yes = int(member.sum())
    no = len(member) - yes
    return math.sqrt((yes + no + 1) / (12 * yes * no))


def parted(rectangles: Tensor, member: Tensor) -> bool:
    """Whether in every source that both are of, a straight line parts them.

    Args:
        rectangles: int32 [n, 5]: source, y0, x0, y1, x1.
    """
    members, others = rectangles[member], rectangles[~member]
    both = set(members[:, 0].tolist()) & set(others[:, 0].tolist())
    pairs = [(members[members[:, 0] == s], others[others[:, 0] == s]) for s in both]
    return bool(both) and all(_apart(*pair) or _apart(*reversed(pair)) for pair in pairs)


def _apart(one: Tensor, other: Tensor) -> bool:
    """Whether all of `one` lies above all of `other`, or to the left of it."""
    return bool((one[:, 3:].amax(0) <= other[:, 1:3].amin(0)).any())
