"""Membership where the answer is known in closed form, and by hand with ties."""

import math
from statistics import NormalDist

import pytest
import torch

from splitlab.errors import Unavailable
from splitlab.metrics import evaluate, set_interval
from splitlab.metrics.membership import (
    AUC,
    TPR_AT_1,
    TPR_AT_TENTH,
    auc,
    one_score,
    roc,
    tpr_at,
)

NORMAL = NormalDist()


@pytest.mark.parametrize("apart", [0.0, 0.5, 1.0, 2.5])
def test_two_gaussians_have_the_auc_and_the_tpr_of_the_formula(apart):
    """N(apart, 1) and N(0, 1): AUC = Phi(apart / sqrt 2), TPR = 1 - Phi(Phi^-1(1 - a) - apart).

    The scores are the quantiles themselves, so that nothing is left to chance; among 20,000 of
    them the rate of false alarms comes in steps, at 0.1 % by a twentieth.
    """
    count = 20_000
    levels = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    quantiles = torch.special.ndtri(levels)
    scores = torch.cat([quantiles + apart, quantiles])
    member = torch.arange(2 * count) < count
    assert auc(member, scores) == pytest.approx(NORMAL.cdf(apart / math.sqrt(2)), abs=1e-4)
    for alarm in (0.1, 0.01, 0.001):
        wanted = 100 * (1 - NORMAL.cdf(NORMAL.inv_cdf(1 - alarm) - apart))
        assert tpr_at(member, scores, alarm) == pytest.approx(wanted, abs=0.4)


def test_by_hand_with_ties():
    """Of 2 x 3 pairs: 0.9 above all three; 0.5 above one, tied with one, below one."""
    member = torch.tensor([True, True, False, False, False])
    scores = torch.tensor([0.9, 0.5, 0.7, 0.5, 0.1])
    assert auc(member, scores) == pytest.approx((3 + 1.5) / 6)
    alarms, hits = roc(member, scores)
    assert alarms.tolist() == pytest.approx([0, 0, 1 / 3, 2 / 3, 1])
    assert hits.tolist() == pytest.approx([0, 0.5, 0.5, 1, 1])
    assert tpr_at(member, scores, 0.01) == 50
    assert tpr_at(member, scores, 0.67) == 100
    assert auc(member, -scores) == pytest.approx(1 - 4.5 / 6)


def test_twins_and_one_score_for_all_are_chance():
    member = torch.tensor([True, False] * 20)
    twins = torch.randn(20, generator=torch.Generator().manual_seed(0)).repeat_interleave(2)
    assert auc(member, twins) == pytest.approx(0.5)
    constant = one_score(None).expand(40)
    assert auc(member, constant) == pytest.approx(0.5)
    assert tpr_at(member, constant, 0.01) == 0


def test_of_one_sort_alone_there_is_no_rate():
    column = evaluate([AUC], torch.ones(4, dtype=torch.bool), torch.rand(4))[AUC.name]
    assert column.number is None
    assert "4 members and 0 others" in column.why
    with pytest.raises(Unavailable):
        roc(torch.zeros(3, dtype=torch.bool), torch.rand(3))


def test_its_interval_is_over_groups_and_leaves_out_resamples_without_members():
    draw = torch.Generator().manual_seed(1)
    member = torch.arange(200) % 2 == 0
    scores = member.double() + torch.randn(200, generator=draw, dtype=torch.float64)
    column = evaluate([AUC], member, scores)[AUC.name]
    each = column.interval(torch.arange(200))
    assert each.low < each.mean < each.high
    assert 0.05 < each.high - each.low < 0.2  # Hanley and McNeil: about 4 x 0.033
    few = column.interval(torch.arange(200) // 50)
    assert few.high - few.low != each.high - each.low
    rare = torch.arange(4) == 0  # a third of the resamples has no member
    assert column.metric.per_set is not None
    told = set_interval(column.metric.per_set, (rare, torch.rand(4)), torch.arange(4))
    assert (told.low, told.high) == (None, None)


def test_many_resamples_at_once_are_those_one_by_one():
    draw = torch.Generator().manual_seed(2)
    member = torch.arange(240) % 3 == 0
    scores = (member.double() + torch.randn(240, generator=draw)).mul(4).round()  # with ties
    groups = torch.arange(240) // 2
    for metric in (AUC, TPR_AT_1):
        rows = metric.prepare(member, scores, {})
        one = set_interval(metric.per_set, rows, groups, 300)
        told = set_interval(metric.per_set, rows, groups, 300, per_draw=metric.per_draw)
        assert told == pytest.approx(one, abs=1e-12)
    rare = torch.arange(4) == 0
    told = set_interval(AUC.per_set, (rare, torch.rand(4)), torch.arange(4), per_draw=AUC.per_draw)
    assert (told.low, told.high) == (None, None)


@pytest.mark.parametrize(("metric", "others"), [(TPR_AT_1, 100), (TPR_AT_TENTH, 10_000)])
def test_a_rate_of_false_alarms_wants_as_many_others_as_show_it(metric, others):
    """Of 64 none may be a false alarm: TPR at 1 % would be TPR at none, under another name."""
    for count, told in ((others - 1, False), (others, True)):
        member = torch.arange(count + 5) < 5
        column = evaluate([metric], member, torch.arange(count + 5.0))[metric.name]
        assert (column.number is not None) == told
        assert told or f"takes {others:,}" in column.why
