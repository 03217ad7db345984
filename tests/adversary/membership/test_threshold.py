"""Thresholds on a network's answers: two Gaussians with an AUC in closed form, twins, labels."""

import math

import pytest
import torch

from adversary.contract.attack import run_attack
from adversary.contract.threat import ThreatModel
from adversary.membership.threshold import LossThreshold, Threshold
from splitlab.contracts import Scores
from splitlab.errors import BadInput
from splitlab.metrics.membership import auc
from splitlab.randomness import generator

COUNT = 20_000
MEMBER = torch.arange(2 * COUNT) % 2 == 0


def answer(attack, scores):
    """Its values, run as a sweep runs it."""
    done = run_attack(attack, ThreatModel(name="undefended"), scores, generator(0))
    assert done.ids == scores.ids
    return done.estimate.values


def two_gaussians(apart, answers="logits", labels=None):
    """Two classes; the true one's log odds are normal, with mean `apart` for members, else 0."""
    odds = torch.randn(2 * COUNT, generator=generator(3)) + apart * MEMBER
    true = torch.arange(2 * COUNT) // 2 % 2 if labels is None else labels
    logits = torch.zeros(2 * COUNT, 2).scatter(1, true[:, None], odds[:, None])
    ids = tuple(map(str, range(2 * COUNT)))
    return Scores.of(ids, logits, answers, true)


@pytest.mark.parametrize("answers", ["logits", "probabilities"])
@pytest.mark.parametrize("apart", [0.5, 1.5])
def test_the_loss_finds_what_two_gaussians_allow(apart, answers):
    found = auc(MEMBER, answer(LossThreshold(), two_gaussians(apart, answers)))
    closed = 0.5 * (1 + math.erf(apart / 2))  # Phi(apart / sqrt 2)
    assert found == pytest.approx(closed, abs=0.01)


def test_twins_are_told_apart_by_chance():
    scores = two_gaussians(0.0)
    for attack in (LossThreshold(), Threshold(), Threshold(statistic="entropy")):
        assert auc(MEMBER, answer(attack, scores)) == pytest.approx(0.5, abs=0.01)
    assert auc(MEMBER, answer(LossThreshold(), two_gaussians(0.0, "label"))) == pytest.approx(
        0.5, abs=0.01
    )


def test_whoever_is_told_the_label_alone_calls_members_who_are_classified_rightly():
    scores = two_gaussians(1.5, "label")
    values = answer(LossThreshold(), scores)
    assert torch.equal(values.bool(), scores.scores == scores.labels)
    right = values[MEMBER].mean(), values[~MEMBER].mean()
    assert auc(MEMBER, values) == pytest.approx(0.5 + float(right[0] - right[1]) / 2, abs=1e-6)
    with pytest.raises(BadInput, match="tells its label alone"):
        answer(Threshold(), scores)


def test_sureness_needs_no_class_and_the_loss_does():
    ids, logits = ("a", "b", "c"), torch.tensor([[9.0, 0, 0], [0.1, 0, 0], [0, 0, 3.0]])
    blind = Scores(ids, logits)
    for statistic in ("confidence", "entropy"):
        values = answer(Threshold(statistic=statistic), blind)
        assert values.argsort().tolist() == [1, 2, 0]
    probabilities = logits.double().softmax(1)
    entropy = -(probabilities * probabilities.log()).sum(1)
    assert torch.allclose(answer(Threshold(statistic="entropy"), blind), -entropy.float())
    with pytest.raises(BadInput, match="needs the records' classes"):
        answer(LossThreshold(), blind)


def test_two_sure_answers_are_still_ranked():
    """Where probabilities of float32 are 1 both, their logits differ."""
    scores = Scores(("a", "b"), torch.tensor([[30.0, 0], [40.0, 0]]), labels=torch.zeros(2).long())
    assert scores.scores.softmax(1)[:, 0].tolist() == [1.0, 1.0]
    for attack in (LossThreshold(), Threshold(), Threshold(statistic="entropy")):
        low, high = answer(attack, scores).tolist()
        assert low < high
