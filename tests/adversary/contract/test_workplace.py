"""Other attacks' fits under one grant, and what an attack is shown."""

import pytest
import torch
from worlds import Orthogonal, capture, threat

from adversary.contract.attack import Attack, run_attack
from adversary.contract.workplace import ALONE, Fits, Workplace
from adversary.inversion.mean_image import MeanImage
from splitlab.contracts import Estimate, Features, Scores
from splitlab.errors import Mismatch, SplitLabError
from splitlab.randomness import generator

DRAWN = []


class Slow(MeanImage):
    name = "slow"
    fitted_on = "grant"

    def fit(self, threat, rng, work=ALONE):
        DRAWN.append(int(torch.randint(1000, (), generator=rng)))
        return super().fit(threat, rng, work)


class Twice(Attack):
    """Answers with another attack's answer, whose fit it asks for twice."""

    name = "twice"
    source = "a test"
    fitted_on = "capture"
    asks = {}  # noqa: RUF012

    def fit(self, threat, rng, work=ALONE):
        del threat, rng
        first, second = work.fitted(Slow()), work.fitted(Slow())
        assert first is second
        return first


class Both(Attack):
    name = "both"
    source = "a test"
    sees = (Features, Scores)
    asks = {}  # noqa: RUF012

    def fit(self, threat, rng, work=ALONE):
        del threat, rng, work
        return lambda features, scores: Estimate(
            torch.full((len(features.ids), 3, 16, 16), float(scores.scores.mean()))
        )


@pytest.fixture
def granted():
    head = Orthogonal("map")
    DRAWN.clear()
    return threat(head, known="unaware"), Features(tuple("ab"), capture(head)[:2])


def test_a_fit_is_made_once_for_all_and_its_cost_is_counted(granted):
    model, seen = granted
    fits = Fits()
    done = run_attack(Twice(), model, seen, generator(0), fits=fits)
    assert len(DRAWN) == len(fits.kept) == 1
    alone = run_attack(MeanImage(), model, seen, generator(0))
    assert torch.equal(done.estimate.values, alone.estimate.values)
    (key,) = fits.kept
    fits.kept[key] = fits.kept[key]._replace(seconds=100.0)  # as if it had taken that long
    again = run_attack(Twice(), model, seen, generator(0), fits=fits)
    assert len(DRAWN) == 1
    assert 100 <= again.effort["fit_seconds"] < 200  # asked for twice, counted once
    assert done.effort["fit_seconds"] < 100
    run_attack(Twice(), model, seen, generator(0))
    run_attack(Twice(), model, seen, generator(1))
    assert DRAWN[1] == DRAWN[0] != DRAWN[2]  # a stream of its own, under the attack's seed


def test_without_a_grant_no_other_attack_is_fitted(granted):
    with pytest.raises(SplitLabError, match="no grant is at hand"):
        Twice().fit(granted[0], generator(0), Workplace())


def test_an_attack_is_shown_what_it_sees(granted):
    model, seen = granted
    scores = Scores(seen.ids, torch.full((2, 10), 0.25))
    done = run_attack(Both(), model, (seen, scores), generator(0))
    assert float(done.estimate.values.mean()) == 0.25
    for shown in (seen, (scores, seen)):
        with pytest.raises(Mismatch, match="it sees Features, Scores"):
            run_attack(Both(), model, shown, generator(0))
    with pytest.raises(Mismatch, match="mean-image was shown Scores; it sees Features"):
        run_attack(MeanImage(), model, scores, generator(0))
