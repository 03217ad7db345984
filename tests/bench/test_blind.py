"""Members that differ without any network: said where they do, and nowhere else."""

from __future__ import annotations

import pytest
import torch

from bench.point.sights.blind import blind_auc, blind_doubts
from splitlab.data import ImageSet


def images_of(count: int, seed: int = 0, brighter: int = 0) -> ImageSet:
    """Noise; the first half of it is `brighter`."""
    draw = torch.Generator().manual_seed(seed)
    pixels = torch.randint(60, 190, (count, 3, 8, 8), generator=draw)
    pixels[: count // 2] += brighter
    rows = torch.arange(count)
    return ImageSet(pixels.to(torch.uint8), torch.zeros(count, dtype=torch.int64), ("all",), rows)


def first_half(count: int) -> torch.Tensor:
    return torch.arange(count) < count // 2


def test_brighter_members_raise_the_doubt_and_shuffled_ones_do_not() -> None:
    records = images_of(200, brighter=40)
    (found,) = blind_doubts(records, first_half(200))
    assert "differ without any network" in found
    assert blind_auc(records, first_half(200)) > 0.95
    shuffled = torch.randperm(200, generator=torch.Generator().manual_seed(1))
    assert blind_doubts(records, first_half(200)[shuffled]) == ()
    assert blind_doubts(images_of(200), first_half(200)) == ()


@pytest.mark.parametrize("count", [10, 20, 40])
def test_where_there_is_nothing_few_records_lie_at_chance(count: int) -> None:
    """Not below: a fit to fewer members would judge the folds that have more of them."""
    found = [blind_auc(images_of(count, seed), first_half(count)) for seed in range(150)]
    values = torch.tensor(found)
    error = float(values.std()) / len(values) ** 0.5
    assert float(values.mean()) == pytest.approx(0.5, abs=3 * error)
