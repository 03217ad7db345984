"""Crop, jitter, mixup and cutmix against torchvision and by hand."""

import numpy as np
import pytest
import torch
from torchvision.transforms import functional as TF

from splitlab.data import ImageSet
from splitlab.training import Batch, TensorSource
from splitlab.training.augment import Augment, Jitter, Mix, colour
from splitlab.training.augment.mix import box
from splitlab.training.augment.place import cropped

IMAGES = torch.rand(12, 3, 10, 10, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(12) % 4


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("ours", "theirs", "factors"),
    [
        (colour.brightened, TF.adjust_brightness, (0.0, 0.6, 1.0, 1.7)),
        (colour.contrasted, TF.adjust_contrast, (0.0, 0.6, 1.0, 1.7)),
        (colour.saturated, TF.adjust_saturation, (0.0, 0.6, 1.0, 1.7)),
        (colour.turned, TF.adjust_hue, (-0.5, -0.1, 0.0, 0.3)),
    ],
)
def test_each_change_of_colours_is_torchvisions(ours, theirs, factors) -> None:
    grey = IMAGES[:1].mean(1, keepdim=True).expand(-1, 3, -1, -1)
    images = torch.cat([IMAGES[:2], grey, torch.zeros(1, 3, 10, 10)])
    for turn in range(4):
        each = torch.tensor([factors[(turn + k) % 4] for k in range(4)])
        wanted = torch.stack([theirs(x, float(f)) for x, f in zip(images, each, strict=True)])
        assert torch.allclose(ours(images, each), wanted, atol=2e-6)


def test_jitter_of_nothing_is_the_identity_and_stays_within_its_bounds() -> None:
    assert Jitter()(IMAGES, rng()) is IMAGES
    flat = torch.full((400, 3, 2, 2), 0.4)
    found = Jitter(brightness=0.2)(flat, rng())[:, 0, 0, 0] / 0.4
    assert found.min() >= 0.8
    assert found.max() <= 1.2
    assert found.std() > 0.1
    red = torch.tensor([1.0, 0.5, 0.5])[:, None, None].expand(300, 3, 2, 2)
    turned = Jitter(hue=1 / 12)(red, rng())  # half a sixth of the circle: red stays the largest
    assert torch.allclose(turned[:, 0], red[:, 0])
    assert turned[:, 1:].amax() == pytest.approx(0.75, abs=0.01)
    everything = Jitter(0.2, 0.2, 0.1, 0.1)
    assert torch.equal(everything(IMAGES, rng(1)), everything(IMAGES, rng(1)))
    assert not torch.equal(everything(IMAGES, rng(1)), everything(IMAGES, rng(2)))


def test_a_crop_of_a_ramp_is_a_ramp_of_the_crops_share() -> None:
    """Bilinear, so a linear ramp stays linear: its slope is the side of the square, squared its
    area; its middle tells where the crop lay.
    """
    size = 32
    ramp = torch.arange(size).float().expand(200, 1, size, size)
    both = torch.cat([ramp, ramp.mT], 1)
    found = cropped(both, 0.5, rng())
    across, down = found[:, 0], found[:, 1].mT
    inner = slice(2, size - 2)
    side = across[:, 5, 20] - across[:, 5, 19]
    assert torch.allclose(across[:, 0, inner].diff(dim=-1), side[:, None].expand(-1, 27), atol=1e-4)
    assert torch.allclose(down[:, 0, inner].diff(dim=-1), side[:, None].expand(-1, 27), atol=1e-4)
    area = side.square()
    assert 0.5 <= area.min() < 0.53
    assert 0.97 < area.max() <= 1.0
    assert across.min() >= 0
    assert across.max() <= size - 1
    middles = across.mean((1, 2)), down.mean((1, 2))
    assert all(m.std() > 0.5 and abs(m.mean() - 15.5) < 0.5 for m in middles)
    assert torch.allclose(cropped(both, 1.0, rng()), both, atol=1e-4)


def test_mixup_blends_images_and_labels_by_one_share() -> None:
    images, mixed = Mix(mixup=0.8)(IMAGES, LABELS, rng())
    share = mixed.share
    assert 0 < share < 1
    assert torch.allclose(images, share * IMAGES + (1 - share) * IMAGES.flip(0))
    targets = mixed.targets(LABELS, 4)
    for row, (own, other) in enumerate(zip(LABELS, LABELS.flip(0), strict=True)):
        wanted = torch.zeros(4)
        wanted[own] += share
        wanted[other] += 1 - share
        assert torch.allclose(targets[row], wanted)


def test_cutmix_pastes_a_box_and_labels_follow_its_area() -> None:
    for seed in range(20):
        images, mixed = Mix(cutmix=1.0)(IMAGES, LABELS, rng(seed))
        pasted = (images == IMAGES.flip(0)).all(1)
        kept = (images == IMAGES).all(1)
        assert (pasted ^ kept).all()
        assert torch.equal(pasted, pasted[:1].expand_as(pasted))
        rows, columns = pasted[0].any(1).sum(), pasted[0].any(0).sum()
        assert pasted[0].sum() == rows * columns
        assert mixed.share == pytest.approx(kept[0].float().mean().item())
        assert torch.allclose(mixed.targets(LABELS, 4).sum(1), torch.ones(12))


def test_a_box_has_the_area_that_is_wanted_where_it_fits() -> None:
    source = np.random.default_rng(0)
    areas = []
    for _ in range(300):
        top, bottom, left, right = box(100, 60, 0.75, source)
        assert 0 <= top <= bottom <= 100
        assert 0 <= left <= right <= 60
        areas.append((bottom - top) * (right - left) / 6000)
    assert max(areas) == pytest.approx(0.25)
    assert min(areas) < 0.2


def test_both_mixings_take_turns() -> None:
    cut = 0
    for seed in range(60):
        images, _ = Mix(mixup=1.0, cutmix=1.0)(IMAGES, LABELS, rng(seed))
        cut += bool(((images == IMAGES) | (images == IMAGES.flip(0))).all())
    assert 15 < cut < 45


def test_a_source_hands_out_mixed_batches_and_a_batch_can_be_mixed_later() -> None:
    pixels = (IMAGES * 255).byte()
    data = ImageSet(pixels, LABELS, ("a", "b", "c", "d"), torch.arange(12))
    source = TensorSource.of(data, "cpu")
    augment = Augment(0, True, 0.8, Jitter(0.1), Mix(mixup=0.5))
    rows = torch.tensor([3, 1, 4, 5])
    batch = source.batch(rows, augment, rng())
    assert torch.equal(batch.labels, LABELS[rows])
    assert batch.targets(4).shape == (4, 4)
    later = source.batch(rows).augmented(augment, rng())
    assert torch.allclose(batch.images, later.images, atol=1e-6)
    assert torch.equal(batch.targets(4), later.targets(4))
    whole = Batch((IMAGES, LABELS), torch.arange(12)).augmented(None, None)
    assert torch.equal(whole.targets(4), LABELS)
