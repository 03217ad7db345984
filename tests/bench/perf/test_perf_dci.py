"""`bench perf dci`: both loops train the same thing, and the rival keeps more for its backward."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from adversary.inversion.dci.lessons import Lessons
from adversary.inversion.dci.training import losses
from bench.perf.training.dci import (
    LIMIT,
    SCHOOLING,
    _from_images,
    _kept,
    _one_pass,
    _problem,
)
from bench.perf.verdict import judged

CPU = torch.device("cpu")


def test_the_rival_has_the_same_losses() -> None:
    blocks, inverses = _problem(CPU)
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    lessons = Lessons.of(blocks, images)
    levels = lessons.levels(torch.arange(4))
    for inverse in inverses:
        inverse.eval()  # batch norms that see one pass or three
    for k in (1, 4, 8):
        ours = losses(inverses[:k], blocks, levels, levels[k], SCHOOLING)
        rival = _from_images(inverses[:k], blocks, images)
        assert ours.item() == pytest.approx(rival.item(), rel=1e-5)


def test_memory_is_what_autograd_keeps() -> None:
    layer = nn.Linear(256, 256, bias=False)
    value = torch.randn(64, 256)
    # The input for the weight's gradient, and nothing for an input that needs none.
    assert _kept(lambda: layer(value).sum()) == pytest.approx(64 * 256 * 4 / 2**20)
    blocks, inverses = _problem(CPU)
    images = torch.randn(4, 3, 32, 32)
    lessons = Lessons.of(blocks, images)
    assert lessons.kept_bytes == 4 * 4 * (3 * 32 * 32 + sum(math.prod(b.made) for b in blocks))
    assert Lessons.of(blocks, images, most=1).kept_bytes == 0
    one = _kept(lambda: _one_pass(inverses[:3], lessons, torch.arange(4)))
    other = _kept(lambda: _from_images(inverses[:3], blocks, images))
    assert one < other


def test_a_ratio_below_the_limit_fails() -> None:
    assert judged({}, 1.6, LIMIT)["ok"]
    assert not judged({}, 1.4, LIMIT)["ok"]
    assert not judged({}, 1.6, LIMIT, sound=False)["ok"]
