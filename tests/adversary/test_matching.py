"""The descent of `rmle` and its total variation."""

import pytest
import torch
from worlds import INPUT, VICTIMS, Orthogonal, tiny_head

from adversary.inversion.rmle.matching import MatchingSettings, match_features, total_variation
from splitlab.randomness import generator


def test_total_variation_is_the_mean_of_squares_in_each_direction():
    ramp = torch.arange(4.0).expand(1, 3, 4, 4)
    assert total_variation(ramp).item() == 1
    assert total_variation(ramp + 2 * ramp.transpose(2, 3)).item() == 5
    assert total_variation(torch.ones(2, 3, 4, 4)).tolist() == [0, 0]


def test_rows_of_a_batch_do_not_touch_each_other():
    head = tiny_head("block2")
    with torch.no_grad():
        target = head(VICTIMS[:3])
    settings = [
        MatchingSettings(12, rate, tv, 0.0, True) for rate, tv in ((1, 0), (0.1, 0.3), (3, 1))
    ]
    together = match_features(head, target, settings, INPUT, generator(0))
    for row, own in enumerate(settings):
        alone = match_features(head, target[row : row + 1], [own], INPUT, generator(0))
        torch.testing.assert_close(together.images[row], alone.images[0], rtol=1e-3, atol=1e-4)


def test_elements_without_weight_are_ignored():
    head = Orthogonal("map")
    target = head(VICTIMS)
    counts = torch.ones_like(target)
    counts[:, 24:] = 0
    spoilt = torch.where(counts > 0, target, torch.full_like(target, 1e3))
    settings = [MatchingSettings(10, 1.0, 0.0, 0.0, True)] * len(target)
    clean = match_features(head, target, settings, INPUT, generator(0), counts)
    dirty = match_features(head, spoilt, settings, INPUT, generator(0), counts)
    assert torch.equal(clean.images, dirty.images)


@pytest.mark.parametrize("box", [True, False])
def test_pixels_come_out_in_the_range(box):
    """The box is kept during the descent, or the pixels are clamped at its end."""
    head = Orthogonal("map")
    target = head(3 * VICTIMS - 1)
    settings = [MatchingSettings(40, 1.0, 0.0, 0.0, box)] * len(target)
    match = match_features(head, target, settings, INPUT, generator(0))
    assert match.images.min() >= 0
    assert match.images.max() <= 1


def test_a_network_without_biases_is_no_dead_end():
    """All zeros in, all zeros out, and no slope: the papers' first image would stay for ever."""
    head = tiny_head("block2")
    assert not head((torch.zeros(INPUT.shape) + torch.tensor(INPUT.mean).view(3, 1, 1))[None]).any()
    settings = [MatchingSettings(40, 1.0, 0.0, 0.0, True)] * len(VICTIMS)
    match = match_features(head, head(VICTIMS).detach(), settings, INPUT, generator(0))
    assert not match.blind.any()
    assert (match.losses < 0.5 * head(VICTIMS).square().flatten(1).mean(1)).all()
