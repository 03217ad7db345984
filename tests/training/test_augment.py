"""Batched shift and flip against a plain loop, one image at a time."""

import numpy as np
import torch

from splitlab.training import Augment
from splitlab.training.augment.place import mirror


def images(count=64, size=9):
    rng = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, size, size), generator=rng, dtype=torch.uint8)


def candidates(image, shift):
    """Every shifted and flipped version, made with numpy's own reflection."""
    padded = np.pad(image.numpy(), ((0, 0), (shift, shift), (shift, shift)), mode="reflect")
    size = image.shape[-1]
    for y in range(2 * shift + 1):
        for x in range(2 * shift + 1):
            crop = padded[:, y : y + size, x : x + size]
            yield (y, x, False), crop
            yield (y, x, True), crop[:, :, ::-1]


def test_each_image_is_one_of_its_own_versions_and_they_vary():
    some = images()
    out = Augment(shift=2)(some, torch.Generator().manual_seed(1))
    assert out.dtype == torch.uint8
    found = []
    for before, after in zip(some, out, strict=True):
        matches = [key for key, crop in candidates(before, 2) if np.array_equal(crop, after)]
        assert len(matches) == 1
        found += matches
    assert {y for y, _, _ in found} == {x for _, x, _ in found} == set(range(5))
    assert 15 < sum(flipped for _, _, flipped in found) < 49


def test_draws_depend_on_the_generator_alone_and_leave_the_input():
    some, kept = images(), images()
    augment = Augment()
    one = augment(some, torch.Generator().manual_seed(1))
    two = augment(some.float(), torch.Generator().manual_seed(1))
    assert torch.equal(one.float(), two)
    assert not torch.equal(one, augment(some, torch.Generator().manual_seed(2)))
    assert torch.equal(some, kept)
    assert torch.equal(Augment(shift=0, flip=False)(some), some)


def test_mirror():
    assert mirror(torch.arange(-3, 8), 5).tolist() == [3, 2, 1, 0, 1, 2, 3, 4, 3, 2, 1]
