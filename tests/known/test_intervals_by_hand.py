"""Intervals and re-identification whose answer can be written down."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from splitlab.errors import BadInput
from splitlab.metrics import evaluate, mean_interval, mse, psnr
from splitlab.metrics.image.reidentification import reidentified
from splitlab.randomness import generator


def test_of_two_groups_the_ends_are_the_groups_themselves() -> None:
    """A resample of two holds the first twice, the second twice, or both: 1/4, 1/4, 1/2."""
    values, groups = torch.tensor([1.0, 2.0, 3.0, 7.0]), torch.tensor([4, 4, 4, 9])
    found = mean_interval(values, groups)
    assert found == (3.25, 2.0, 7.0)
    assert mean_interval(values, torch.tensor([0, 0, 1, 1])) == (3.25, 1.5, 5.0)


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert mean_interval(torch.full((6,), 0.25), torch.arange(6)) == (0.25, 0.25, 0.25)


def test_many_groups_give_the_normal_interval() -> None:
    """Of 400 values with deviation s the mean's is s / 20: the ends are 1.96 of these away."""
    values = torch.randn(400, generator=torch.Generator().manual_seed(3))
    found = mean_interval(values, torch.arange(400))
    half = 1.96 * float(values.std()) / 20
    assert found.low is not None
    assert found.high is not None
    assert found.mean - found.low == pytest.approx(half, rel=0.1)
    assert found.high - found.mean == pytest.approx(half, rel=0.1)


def test_a_recorded_interval_can_be_drawn_again() -> None:
    """Groups are drawn under the label "bootstrap"; the ends are percentiles of their means."""
    groups = {0: [1.0, 2.0], 1: [4.0], 2: [0.5, 0.25, 3.0], 3: [9.0]}
    drawn = torch.randint(4, (50, 4), generator=generator(5, "bootstrap")).tolist()
    means = [float(np.mean([v for k in row for v in groups[k]])) for row in drawn]
    values = torch.tensor([v for group in groups.values() for v in group])
    names = torch.tensor([k for k, group in groups.items() for _ in group])
    found = mean_interval(values, names, n_boot=50, seed=5)
    assert found[1:] == pytest.approx(np.percentile(means, [2.5, 97.5]).tolist(), rel=1e-9)


def test_order_and_names_of_the_groups_change_nothing_but_the_draw() -> None:
    values, groups = torch.rand(30), torch.arange(30) // 3
    found = mean_interval(values, groups)
    turned = mean_interval(values.flip(0), groups.flip(0))
    assert found.mean == pytest.approx(turned.mean, abs=1e-12)
    assert found[1:] == pytest.approx(turned[1:], abs=1e-9)
    assert mean_interval(values, groups * 7 + 3) == found


def test_the_number_of_resamples_and_the_seed_are_used() -> None:
    values, groups = torch.rand(20), torch.arange(20)
    one = mean_interval(values, groups, n_boot=1)
    assert one.low == one.high
    assert mean_interval(values, groups, n_boot=1, seed=1).low != one.low
    assert mean_interval(values, groups) == mean_interval(values, groups, n_boot=2000, seed=0)


@pytest.mark.parametrize(
    ("values", "groups"),
    [
        (torch.zeros(2, 2), torch.zeros(2, 2)),
        (torch.zeros(3), torch.zeros(2)),
        (torch.zeros(0), torch.zeros(0)),
        (torch.tensor([1.0, float("inf")]), torch.arange(2)),
        (torch.tensor([1.0, float("nan")]), torch.arange(2)),
    ],
)
def test_what_has_no_mean_is_refused(values: torch.Tensor, groups: torch.Tensor) -> None:
    with pytest.raises(BadInput):
        mean_interval(values, groups.long())


LINE = torch.tensor([[0.0], [1.0], [2.0], [4.0]])


def test_the_nearest_of_a_line_by_hand() -> None:
    """Places 0, 1, 2 and 4; what is as near to two places shares its hit."""
    asked = torch.tensor([[0.4], [0.6], [1.5], [3.0], [9.0]])
    assert reidentified(asked, LINE, torch.tensor([0, 1, 1, 3, 3])).tolist() == [
        100,
        100,
        50,
        50,
        100,
    ]
    assert reidentified(asked, LINE, torch.tensor([1, 0, 2, 2, 2])).tolist() == [0, 0, 50, 50, 0]
    same = torch.ones(4, 1)
    assert reidentified(same, same, torch.arange(4)).tolist() == [25] * 4


def test_more_estimates_than_are_compared_at_once() -> None:
    places = torch.arange(600.0)[:, None]
    index = torch.arange(600).flip(0)
    assert float(reidentified(places[index], places, index).mean()) == 100
    wrong = reidentified(places[index] + 1, places, index)
    assert wrong.tolist() == [100.0] + [0.0] * 599


@pytest.mark.parametrize("index", [[-1], [4]])
def test_an_index_outside_the_gallery_is_refused(index: list[int]) -> None:
    with pytest.raises(BadInput, match="outside"):
        reidentified(LINE[:1], LINE, torch.tensor(index))


def test_no_estimates_have_no_hits() -> None:
    found = reidentified(LINE[:0], LINE, torch.zeros(0, dtype=torch.int64))
    assert (tuple(found.shape), found.dtype) == ((0,), torch.float32)


def grey(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 3, 8, 8)


PIXELS, FEATURES = "reidentified_by_pixels", "reidentified_by_features"


def test_without_a_gallery_the_truths_are_it() -> None:
    truths, guesses = grey(0.1, 0.5, 0.9), grey(0.15, 0.85, 0.8)
    found = evaluate([PIXELS], truths, guesses)[PIXELS].values
    assert found is not None
    assert found.tolist() == [100, 0, 100]


def halves(*pairs: tuple[float, float]) -> torch.Tensor:
    """Images of two greys, left and right."""
    return torch.cat([torch.cat([grey(a), grey(b)], dim=3) for a, b in pairs])


@pytest.mark.parametrize(
    ("own", "other", "answer"),
    [((0.2, 0.0), (0.4, 0.7), (4.0, 0.0)), ((0.8, 0.0), (0.6, 0.7), (-3.0, 0.0))],
)
@pytest.mark.parametrize("name", [PIXELS, FEATURES])
def test_answers_outside_the_range_are_taken_as_its_ends(
    own: tuple[float, float], other: tuple[float, float], answer: tuple[float, float], name: str
) -> None:
    """At 1 the own image is nearer by 0.49 - 0.28; at 2, and at 4, the other one is."""
    context = {
        "embed": lambda x: x,
        "gallery": halves(own, other),
        "truth_index": torch.tensor([0]),
    }
    found = evaluate([name], halves(own), halves(answer), context)[name].values
    assert found is not None
    assert found.tolist() == [100]


def test_many_copies_share_the_hit_to_the_last_bit() -> None:
    """More rows than torch compares one by one unless it is told to."""
    one = 100 * torch.rand(1, 60, generator=torch.Generator().manual_seed(1))
    places = one.expand(40, -1)
    assert reidentified(places, places, torch.arange(40)).tolist() == [2.5] * 40


def test_the_judge_is_asked_about_answers_and_gallery_alike() -> None:
    seen: list[int] = []

    def embed(images: torch.Tensor) -> torch.Tensor:
        seen.append(len(images))
        assert not torch.is_grad_enabled()
        return 1 - images  # [B, 3, H, W]: it need not be flat

    gallery = torch.rand(300, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    context = {"embed": embed, "gallery": gallery, "truth_index": torch.tensor([299, 3])}
    found = evaluate([FEATURES], gallery[[299, 3]], gallery[[299, 4]], context)[FEATURES].values
    assert found is not None
    assert found.tolist() == [100, 0]
    assert seen == [2, 256, 44]


def test_values_outside_the_range_are_its_ends_on_both_sides() -> None:
    truths, guesses = grey(-3.0, 4.0, 0.0, 1.0, 0.25), grey(0.0, 1.0, -3.0, 4.0, 0.75)
    assert mse(truths, guesses).tolist() == [0, 0, 0, 0, 0.25]
    wanted = [100, 100, 100, 100, pytest.approx(6.0206)]
    assert psnr(truths, guesses).tolist() == wanted
    assert psnr(grey(0.0), grey(1e-4)).tolist() == [pytest.approx(80, abs=1e-3)]
