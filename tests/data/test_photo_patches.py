"""The embedded default: deterministic, disjoint, real, and never fetched."""

import socket
from itertools import combinations

import numpy as np
import pytest
import torch
from PIL import Image

from splitlab.data import PARTITIONS, load_splits, photo_patches
from splitlab.data.photo_patches import FLAT, PHOTOGRAPHS, SIDES, _read, bands
from splitlab.data.splits import overlapping
from splitlab.errors import BadInput


@pytest.fixture(scope="module", autouse=True)
def _made_anew():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(photo_patches, "load", photo_patches.load.__wrapped__)
        yield


@pytest.fixture(scope="module")
def splits():
    return load_splits("photo-patches")


@pytest.fixture
def _few(monkeypatch):
    """A hundred crops of a partition are made as its thousands are."""
    monkeypatch.setattr(photo_patches, "COUNTS", dict.fromkeys(photo_patches.COUNTS, 100))


def test_sizes_types_and_classes(splits):
    assert {name: len(part) for name, part in splits.partitions.items()} | {"victims": 0} == {
        "train": 4_000,
        "auxiliary": 2_500,
        "validation": 500,
        "victims": 0,
    }
    assert len(splits.victims) >= 200
    for name, part in splits.partitions.items():
        assert part.name == f"photo-patches/{name}"
        assert part.images.dtype == torch.uint8
        assert part.images.shape[1:] == (3, 32, 32)
        assert part.classes == tuple(PHOTOGRAPHS)
        assert part.labels.unique().tolist() == list(range(10))
        assert torch.equal(part.groups, part.labels)


@pytest.mark.usefixtures("_few")
def test_same_seed_same_bytes_other_seed_other_crops():
    one, again, other = (load_splits("photo-patches", seed=seed) for seed in (0, 0, 1))
    assert again.hash == one.hash
    assert other.train.hash != one.train.hash
    assert other.hash != one.hash


@pytest.mark.usefixtures("_few")
def test_nothing_is_fetched(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("a data set that lies in a wheel went to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert len(load_splits("photo-patches", limits={"train": 7}).train) == 7


def test_crops_are_the_pixels_their_rectangles_name(splits):
    for part in (splits.train, splits.victims):
        for row in range(0, len(part), len(part) // 20):
            source, y0, x0, y1, x1 = part.rectangles[row].tolist()
            name = list(PHOTOGRAPHS)[source]
            assert part.labels[row] == source
            assert y1 - y0 == x1 - x0
            assert y1 - y0 in SIDES
            crop = _read(PHOTOGRAPHS[name]).crop((x0, y0, x1, y1))
            wanted = np.asarray(crop.resize((32, 32), Image.Resampling.BICUBIC))
            assert np.array_equal(part.images[row].numpy().transpose(1, 2, 0), wanted)
            assert np.asarray(crop.convert("L")).std() >= FLAT


def test_no_pixel_of_a_photograph_serves_two_partitions(splits):
    """Counted pixel by pixel, independently of the rectangles' arithmetic."""
    for source, file in enumerate(PHOTOGRAPHS.values()):
        photograph = _read(file)
        used = np.zeros((len(PARTITIONS), photograph.height, photograph.width), bool)
        for number, part in enumerate(splits.partitions.values()):
            for _, y0, x0, y1, x1 in part.rectangles[part.labels == source].tolist():
                used[number, y0:y1, x0:x1] = True
        assert used.any(axis=(1, 2)).all()
        assert used.sum(axis=0).max() == 1


def test_victims_do_not_overlap_one_another(splits):
    for source in range(10):
        boxes = splits.victims.rectangles[splits.victims.labels == source]
        for one, two in combinations(range(len(boxes)), 2):
            assert overlapping(boxes[one : one + 1], boxes[two : two + 1]) == 0


def test_bands_leave_gaps_and_stay_inside():
    for height, width in ((300, 451), (1411, 1411), (700, 400)):
        found = bands(height, width)
        starts = [(b.y0, b.x0) for b in found.values()]
        assert starts == sorted(starts)
        for one, two in zip(list(found.values()), list(found.values())[1:], strict=False):
            assert max(two.x0 - one.x1, two.y0 - one.y1) == 8
        assert all(b.y1 <= height and b.x1 <= width for b in found.values())
        assert all(min(b.y1 - b.y0, b.x1 - b.x0) >= max(SIDES) for b in found.values())


@pytest.mark.usefixtures("_few")
def test_other_sizes_show_the_same_places(splits):
    large = load_splits("photo-patches", size=48, limits={"train": 40, "auxiliary": 40})
    assert large.size == 48
    assert torch.equal(large.victims.rectangles, splits.victims.rectangles)


def test_an_argument_is_refused():
    with pytest.raises(BadInput, match="takes no argument"):
        load_splits("photo-patches:somewhere")
