"""Image sets, splits, overlap checks, limits and names."""

import hashlib
from dataclasses import replace

import pytest
import torch

from splitlab.data import ImageSet, Splits, load_splits
from splitlab.data.partition import ALL, assemble, by_content, of_arrays, partition
from splitlab.data.splits import overlapping
from splitlab.errors import BadInput, UnknownName


def images(count, seed=0, classes=2, name="some"):
    rng = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 3, 8, 8), generator=rng, dtype=torch.uint8)
    return of_arrays(pixels, torch.arange(count) % classes, tuple("abcdefgh"[:classes]), name)


def test_shapes_and_ranges_are_checked():
    good = images(4)
    with pytest.raises(BadInput, match=r"uint8 \[N, 3, S, S\]"):
        replace(good, images=good.images.float())
    with pytest.raises(BadInput, match="4 images need 4 labels"):
        replace(good, labels=torch.zeros(3, dtype=torch.int64))
    with pytest.raises(BadInput, match="labels run from 0 to 1, wanted 0 to 0"):
        replace(good, classes=("a",))


def test_subset_take_and_floats():
    some = images(50)
    part = some.subset([3, 1])
    assert torch.equal(part.images, some.images[[3, 1]])
    assert part.groups.tolist() == [3, 1]
    ten = some.take(10, seed=5)
    assert len(ten) == 10
    assert torch.equal(ten.images, some.take(10, seed=5).images)
    assert not torch.equal(ten.groups, some.take(10, seed=6).groups)
    assert len(some.take(99)) == 50
    assert torch.equal((some.floats() * 255).round().to(torch.uint8), some.images)
    assert 0 <= some.floats().min() <= some.floats().max() <= 1


def test_hash_sees_pixels_and_labels():
    some = images(5)
    assert some.hash == images(5).hash
    changed = some.images.clone()
    changed[0, 0, 0, 0] ^= 1
    assert replace(some, images=changed).hash != some.hash
    assert replace(some, labels=1 - some.labels).hash != some.hash


def test_content_is_a_hash_of_the_pixels_in_memory_order():
    some = images(3)
    wanted = hashlib.blake2b(some.images[1].numpy().tobytes(), digest_size=16).digest()
    assert some.content[1] == wanted


def test_overlapping_rectangles_are_counted():
    one = torch.tensor([[0, 0, 0, 32, 32], [1, 0, 0, 32, 32]], dtype=torch.int32)
    touching = torch.tensor([[0, 0, 32, 32, 64], [0, 32, 0, 64, 32], [2, 0, 0, 9, 9]])
    inside = torch.tensor([[0, 31, 31, 40, 40], [1, 5, 5, 6, 6], [0, 40, 40, 50, 50]])
    assert overlapping(one, touching.int()) == 0
    assert overlapping(one, inside.int()) == 2


def test_check_disjoint_by_rectangle_names_both_partitions():
    splits = load_splits("photo-patches")
    moved = splits.victims.rectangles.clone()
    moved[0] = splits.auxiliary.rectangles[0]
    moved[0, 1:] += 1
    with pytest.raises(BadInput, match=r"1 of \d+ victims images overlap .* auxiliary"):
        replace(splits, victims=replace(splits.victims, rectangles=moved)).check_disjoint()


def test_check_disjoint_by_pixels():
    parts = [images(6, seed) for seed in range(4)]
    Splits(*parts).check_disjoint()
    with pytest.raises(BadInput, match="6 of 6 victims images are identical to train"):
        Splits(*parts[:3], victims=parts[0]).check_disjoint()


def test_partition_covers_everything_once_and_class_by_class():
    some = by_content(images(200, classes=4))
    parts = partition(some, ALL, seed=3, name="n")
    together = sorted(group for part in parts.values() for group in part.groups.tolist())
    assert together == list(range(200))
    for part, share in ALL.items():
        for count in parts[part].labels.bincount(minlength=4).tolist():
            assert abs(count - 50 * share) <= 1
    again = partition(some, ALL, seed=3, name="n")
    other = partition(some, ALL, seed=4, name="n")
    assert torch.equal(parts["victims"].groups, again["victims"].groups)
    assert not torch.equal(parts["victims"].groups, other["victims"].groups)


def test_copies_stay_together_and_leave_the_training_side():
    train, test = images(100, 1), images(20, 2)
    doubled = train.images.clone()
    doubled[50:60] = doubled[:10]
    doubled[60:63] = test.images[:3]
    splits = assemble("twice", 0, replace(train, images=doubled), test)
    splits.check_disjoint()
    assert sum(len(part) for part in splits.partitions.values()) == 100 + 20 - 3
    assert splits.notes == ("3 exact copies of held-out images left out",)
    assert len(splits.victims) == 20


def test_limits_are_deterministic_and_checked():
    some = load_splits("photo-patches", limits={"victims": 10, "train": 9_999})
    assert (len(some.victims), len(some.train)) == (10, 4_000)
    again = load_splits("photo-patches", limits={"victims": 10})
    assert torch.equal(some.victims.images, again.victims.images)
    with pytest.raises(BadInput, match="limit victim=3"):
        some.limited({"victim": 3})
    with pytest.raises(BadInput, match="at least 1"):
        some.limited({"victims": 0})


def test_unknown_names_and_sizes():
    with pytest.raises(UnknownName, match="photo-patches"):
        load_splits("photo-patch")
    with pytest.raises(BadInput, match="size 0"):
        load_splits("photo-patches", size=0)


def test_a_partition_without_images_is_refused(tmp_path):
    from PIL import Image

    Image.new("RGB", (8, 8), "red").save(tmp_path / "only.png")
    told = r"no image is left for '\w+' \(.*(train|auxiliary|validation|victims) 1.*\); give more"
    with pytest.raises(BadInput, match=told):
        load_splits(f"imagefolder:{tmp_path}", size=8)


@pytest.mark.parametrize("seed", range(5))
def test_ten_images_of_a_class_are_enough(tmp_path, seed):
    """As the error says, whatever the seed draws."""
    from PIL import Image

    for number in range(10):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
    splits = load_splits(f"imagefolder:{tmp_path}", size=8, seed=seed)
    assert all(len(part) for part in splits.partitions.values())


def test_image_set_needs_no_rectangles_to_be_cut():
    assert isinstance(images(4).subset(torch.tensor([0])), ImageSet)
    assert images(4).subset([0]).rectangles is None
