"""CIFAR through torchvision, on files of its own format made here."""

import hashlib
import pickle

import numpy as np
import pytest
from torchvision import datasets

from splitlab.data import load_splits
from splitlab.errors import BadInput


def write(folder, name, content):
    folder.mkdir(parents=True, exist_ok=True)
    data = pickle.dumps(content)
    (folder / name).write_bytes(data)
    return [name, hashlib.md5(data).hexdigest()]


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A hundred training and twenty test images, written as torchvision expects them."""
    for dataset, key, classes in (
        (datasets.CIFAR10, "labels", 10),
        (datasets.CIFAR100, "fine_labels", 100),
    ):
        folder = tmp_path / dataset.base_folder
        rng = np.random.default_rng(classes)
        for side, count in (("train", 100), ("test", 20)):
            rows = rng.integers(0, 256, (count, 3072), dtype=np.uint8)
            content = {"data": rows, key: [row % classes for row in range(count)]}
            listed = [write(folder, f"{side}_rows", content)]
            monkeypatch.setattr(dataset, f"{side}_list", listed)
        names = {dataset.meta["key"]: [f"class {number}" for number in range(classes)]}
        file, md5 = write(folder, "names", names)
        meta = {"filename": file, "key": dataset.meta["key"], "md5": md5}
        monkeypatch.setattr(dataset, "meta", meta)
    return tmp_path


@pytest.mark.parametrize(("name", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_train_side_is_parted_and_the_test_side_is_the_victims(root, name, classes):
    splits = load_splits(name, root=root)
    assert len(splits.classes) == classes
    assert len(splits.victims) == 20
    assert sum(len(p) for p in splits.partitions.values()) == 120
    if classes == 10:
        assert [len(p) for p in splits.partitions.values()] == [50, 40, 10, 20]
    assert splits.victims.labels.tolist() == list(range(20)) if classes > 10 else True
    rows = np.random.default_rng(classes)
    rows.integers(0, 256, (100, 3072), dtype=np.uint8)
    wanted = rows.integers(0, 256, (20, 3072), dtype=np.uint8).reshape(20, 3, 32, 32)
    assert np.array_equal(splits.victims.images.numpy(), wanted)


def test_other_sizes_are_scaled(root):
    splits = load_splits("cifar10", root=root, size=48)
    assert splits.train.images.shape[1:] == (3, 48, 48)


def test_missing_or_damaged_files_say_how_to_get_them(root, tmp_path):
    with pytest.raises(BadInput, match=r"cifar10 is not whole .*--download"):
        load_splits("cifar10", root=tmp_path / "elsewhere")
    (root / datasets.CIFAR10.base_folder / "test_rows").write_bytes(b"damaged")
    with pytest.raises(BadInput, match=r"cifar10 is not whole"):
        load_splits("cifar10", root=root)
    with pytest.raises(BadInput, match="takes no argument"):
        load_splits("cifar10:here", root=root)


def test_a_download_that_fails_is_told(tmp_path, monkeypatch):
    def unreachable(*_args, **_kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    with pytest.raises(BadInput, match=r"the download failed: .*no route to host"):
        load_splits("cifar10", root=tmp_path, download=True)
