"""Which of several substitutes FORA keeps."""

import math

import pytest
import torch
from torch import nn
from worlds import AUX, INPUT, outcome

from adversary.contract.threat import ThreatModel
from adversary.inversion.fora import attack as module
from adversary.inversion.fora.attack import FORA, TriedSubstitute, doubts_of, nearest
from splitlab.contracts import FeatureSpec
from splitlab.randomness import generator

SHAPE = (2, 8, 8)


class Sends(nn.Module):
    """Noise with this deviation about this mean, whatever the images are."""

    def __init__(self, spread, mean):
        super().__init__()
        self.spread, self.mean = spread, mean

    def forward(self, images):
        draw = generator(int(images.sum()))
        return self.mean + self.spread * torch.randn(len(images), *SHAPE, generator=draw)


@pytest.mark.parametrize(("pooled", "kept"), [(1, 0), (4, 1)])
def test_it_is_chosen_by_the_distance_that_it_learns_by(pooled, kept, monkeypatch):
    """One is brighter, which whole features hardly show; the other has stronger noise."""
    made = iter([Sends(1.0, 0.2), Sends(1.4, 0.0)])
    monkeypatch.setattr(FORA, "_fresh", lambda *_: next(made))
    monkeypatch.setattr(module, "imitate", lambda *_: [])
    captured = torch.randn(200, *SHAPE, generator=generator(1))
    threat = ThreatModel(
        name="undefended",
        feature=FeatureSpec(shape=SHAPE),
        input=INPUT,
        wire="FP32",
        aux=AUX,
        capture=captured,
    )
    attack = FORA(substitutes=2, pooled=pooled, decoder_epochs=0)
    found = outcome(attack, threat, captured).estimate.extra
    assert found["tried"].index(found["distances"][1]) == kept
    assert found["distances"][1] == min(found["tried"])


@pytest.mark.parametrize(
    ("distances", "kept"),
    [
        ([math.nan, 0.5, 0.4], 2),
        ([0.5, math.nan, 0.4], 2),
        ([math.nan, math.inf], 1),
        ([0.4, 0.4], 0),
        ([math.nan, math.nan], 0),
    ],
)
def test_one_that_diverged_is_kept_only_where_all_have(distances, kept):
    tried = [TriedSubstitute(nn.Identity(), 1.0, after, []) for after in distances]
    assert nearest(tried) is tried[kept]


def test_one_that_diverged_is_a_doubt():
    assert "no nearer" in doubts_of(100, 1.0, math.nan)[0]
