"""Other attacks' fits under one grant, and what an attack is shown."""

from dataclasses import replace

import pytest
import torch
from worlds import Orthogonal, capture, threat

from adversary.contract.attack import Attack, run_attack
from adversary.contract.oracle import Oracle
from adversary.contract.workplace import ALONE, Fits, Spent, Workplace
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
    fits.kept[key] = fits.kept[key]._replace(
        took=Spent(seconds=100.0)
    )  # as if it had taken that long
    again = run_attack(Twice(), model, seen, generator(0), fits=fits)
    assert len(DRAWN) == 1
    assert 100 <= again.effort["fit_seconds"] < 200  # asked for twice, counted once
    assert done.effort["fit_seconds"] < 100
    run_attack(Twice(), model, seen, generator(0))
    run_attack(Twice(), model, seen, generator(1))
    assert DRAWN[1] == DRAWN[0] != DRAWN[2]  # a stream of its own, under the attack's seed


class Asks(MeanImage):
    """Asks the oracle of 7 images while it is fitted; runs the head on what it has seen."""

    name = "asks"
    fitted_on = "grant"

    def fit(self, threat, rng, work=ALONE):
        threat.need("oracle")(torch.zeros(7, 3, 16, 16))
        answer = super().fit(threat, rng, work)

        def estimate(seen):
            found = answer(seen)
            threat.need("head")(found.values)
            return found

        return estimate


class AsksToo(Asks):
    """The same by the other's fit."""

    name = "asks-too"

    def fit(self, threat, rng, work=ALONE):
        del threat, rng
        return work.fitted(Asks.model_construct())


def test_queries_and_images_of_a_borrowed_fit_count_for_who_borrows_it(granted, monkeypatch):
    monkeypatch.setattr(Asks, "asks", {"undefended": frozenset({"head", "oracle"})})
    model, seen = granted
    fits = Fits()

    def asking():
        oracle = Oracle(lambda images: images.flatten(1))
        return replace(model, name="undefended", oracle=oracle)

    for attack in (Asks(), AsksToo(), Asks(), AsksToo()):
        done = run_attack(attack, asking(), seen, generator(0), fits=fits)
        assert (done.effort["queries"], done.effort["head_images"]) == (7, 2), attack.name
    assert sorted(fit.took.queries for fit in fits.kept.values()) == [7, 7, 7]


def test_a_head_is_counted_once_however_often_it_is_attacked(granted):
    model, seen = granted
    model, fits = replace(model, oracle=Oracle(torch.zeros_like)), Fits()
    for _ in range(3):
        done = run_attack(Asks(), model, seen, generator(0), fits=fits)
    assert done.effort["head_images"] == 2


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
