"""Folders and tars: classes, sides, copies, damage, and the cache."""

import io
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from splitlab.data import load_splits
from splitlab.data.folders import pixels as pixels_module
from splitlab.errors import BadInput, Corrupt


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def paint(path, seed, size=(8, 8), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    image.convert(mode).save(path)


def fill(folder, tops, count=12):
    for number, top in enumerate(tops):
        for row in range(count):
            paint(folder / top / f"{row:02d}.png", seed=1_000 * number + row)


def total(splits):
    return sum(len(part) for part in splits.partitions.values())


def test_classes_are_the_top_folders(tmp_path):
    fill(tmp_path / "set", ["cat", "dog/brown", "dog/white"])
    (tmp_path / "set" / "labels.csv").write_text("no image")
    (tmp_path / "set" / ".hidden.png").write_text("no image")
    splits = load_splits(f"imagefolder:{tmp_path / 'set'}", size=8)
    assert splits.classes == ("cat", "dog")
    assert total(splits) == 36
    assert splits.notes == (
        "left out, hidden or of the system: 1 (.hidden.png)",
        "tables not understood as classes of images, not used (columns: no_image; behind the path "
        "?label=COLUMN names the class's): 1 (labels.csv)",
    )
    assert splits.name == "imagefolder"
    assert str(tmp_path) not in splits.train.name
    pixels = np.asarray(Image.open(tmp_path / "set" / "cat" / "00.png")).transpose(2, 0, 1)
    found = [
        int(label)
        for part in splits.partitions.values()
        for image, label in zip(part.images, part.labels, strict=True)
        if np.array_equal(image.numpy(), pixels)
    ]
    assert found == [0]


def test_a_flat_folder_is_one_class(tmp_path):
    fill(tmp_path / "set", ["."], count=40)
    splits = load_splits(f"imagefolder:{tmp_path / 'set'}", size=8)
    assert splits.classes == ("images",)
    assert {name: len(p) for name, p in splits.partitions.items()} == {
        "train": 16,
        "auxiliary": 12,
        "validation": 4,
        "victims": 8,
    }


def test_train_and_test_keep_their_sides(tmp_path):
    fill(tmp_path / "set", ["train/a", "train/b", "test/a", "test/b"], count=20)
    paint(tmp_path / "set" / "train" / "a" / "copy.png", seed=2_000)  # is test/a/00.png
    splits = load_splits(f"imagefolder:{tmp_path / 'set'}", size=8)
    assert splits.classes == ("a", "b")
    assert {name: len(p) for name, p in splits.partitions.items()} == {
        "train": 20,
        "auxiliary": 16,
        "validation": 4,
        "victims": 40,
    }
    assert splits.victims.labels.tolist() == [0] * 20 + [1] * 20
    assert splits.notes == ("1 exact copies of held-out images left out",)


def test_val_is_the_victims_unless_there_is_a_test(tmp_path):
    fill(tmp_path / "two", ["train/a", "val/a"], count=20)
    assert len(load_splits(f"imagefolder:{tmp_path / 'two'}", size=8).victims) == 20
    fill(tmp_path / "three", ["train/a", "val/a", "test/a"], count=20)
    splits = load_splits(f"imagefolder:{tmp_path / 'three'}", size=8)
    lengths = [len(p) for p in splits.partitions.values()]
    assert lengths == [12, 8, 20, 20]


@pytest.mark.parametrize("wrapped", ["", "wrapping/folder/"])
@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_a_tar_equals_its_folder(tmp_path, suffix, wrapped):
    fill(tmp_path / "set", ["a", "b"])
    path = tmp_path / f"set.{suffix}"
    with tarfile.open(path, "w:gz" if suffix.endswith("gz") else "w") as archive:
        for file in sorted((tmp_path / "set").rglob("*.png"), reverse=True):
            archive.add(file, f"./{wrapped}{file.relative_to(tmp_path / 'set')}")
    packed = load_splits(f"imagefolder:{path}", size=8)
    assert packed.hash == load_splits(f"imagefolder:{tmp_path / 'set'}", size=8).hash


def test_files_that_are_not_images_are_left_out_and_named(tmp_path):
    fill(tmp_path / "set", ["a"])
    (tmp_path / "set" / "a" / "05.png").write_text("not a picture")
    whole = (tmp_path / "set" / "a" / "07.png").read_bytes()
    (tmp_path / "set" / "a" / "07.png").write_bytes(whole[: len(whole) // 2])
    splits = load_splits(f"imagefolder:{tmp_path / 'set'}", size=8)
    assert total(splits) == 10
    told = [note for note in splits.notes if note.startswith("left out, not an image")]
    assert [note.rpartition(": ")[2] for note in told] == ["1 (a/07.png)", "1 (a/05.png)"]
    assert "damaged" in told[0]
    assert "neither of PNG" in told[1]


def test_mostly_broken_files_are_refused(tmp_path, cache):
    fill(tmp_path / "set", ["a"])
    for row in range(7):
        (tmp_path / "set" / "a" / f"{row:02d}.png").write_text("not a picture")
    with pytest.raises(BadInput, match=r"7 of 12 files are not images, the first is a/00\.png"):
        load_splits(f"imagefolder:{tmp_path / 'set'}", size=8)
    assert not cache.exists()


def test_paths_that_lead_nowhere(tmp_path):
    with pytest.raises(BadInput, match="needs a path"):
        load_splits("imagefolder")
    with pytest.raises(BadInput, match="no such folder or file"):
        load_splits(f"imagefolder:{tmp_path / 'absent'}")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("nothing here")
    with pytest.raises(BadInput, match=r"no images there \(.*no images: 1 \(notes\.txt\)\)"):
        load_splits(f"imagefolder:{tmp_path / 'empty'}")


def test_a_damaged_tar_is_named(tmp_path):
    fill(tmp_path / "set", ["a"], count=40)
    path = tmp_path / "set.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(tmp_path / "set", "set")
    path.write_bytes(path.read_bytes()[:-2_000])
    with pytest.raises(Corrupt, match=r"set\.tar\.gz: not a whole tar"):
        load_splits(f"imagefolder:{path}", size=8)
    path.write_bytes(b"nothing like a tar" * 100)
    with pytest.raises(Corrupt, match="not a whole tar"):
        load_splits(f"imagefolder:{path}", size=8)


def test_a_tar_is_read_not_unpacked(tmp_path):
    """A member that points outside writes nothing there, and links are not followed."""
    paint(tmp_path / "one.png", seed=1)
    data = (tmp_path / "one.png").read_bytes()
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        for row in range(20):
            paint(tmp_path / "one.png", seed=row)
            data = (tmp_path / "one.png").read_bytes()
            info = tarfile.TarInfo(f"../../outside/{row}.png")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("a/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    splits = load_splits(f"imagefolder:{tmp_path / 'evil.tar'}", size=8)
    assert total(splits) == 20
    assert not (tmp_path.parent.parent / "outside").exists()


def test_the_cache_is_used_and_noticed_when_stale_or_damaged(tmp_path, cache, monkeypatch):
    fill(tmp_path / "set", ["a"], count=20)
    name = f"imagefolder:{tmp_path / 'set'}"
    first = load_splits(name, size=8)
    stored = list(cache.rglob("*.safetensors"))
    assert len(stored) == 1

    decoded = []
    real = pixels_module.decode
    monkeypatch.setattr(
        pixels_module,
        "decode",
        lambda *args, **options: decoded.append(1) or real(*args, **options),
    )
    assert load_splits(name, size=8).hash == first.hash
    assert not decoded

    stored[0].write_bytes(b"damaged")
    assert load_splits(name, size=8).hash == first.hash
    assert len(decoded) == 20

    paint(tmp_path / "set" / "a" / "99.png", seed=99)
    assert total(load_splits(name, size=8)) == 21
    assert load_splits(name, size=4).size == 4


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    fill(tmp_path / "set", ["a"], count=20)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert total(load_splits(f"imagefolder:{tmp_path / 'set'}", size=8)) == 20


def test_large_and_odd_images_become_square(tmp_path):
    for row in range(20):
        paint(tmp_path / "set" / "a" / f"{row}.png", row, (40, 20), "L" if row % 2 else "RGB")
    splits = load_splits(f"imagefolder:{tmp_path / 'set'}", size=10)
    assert splits.train.images.shape[1:] == (3, 10, 10)
    assert splits.train.images.dtype == torch.uint8


@pytest.mark.parametrize("sides", [("train", "test"), ("train", "val"), ("training", "evaluation")])
def test_a_held_out_side_that_is_a_copy_of_the_training_side(tmp_path, sides):
    for side in sides:
        fill(tmp_path / "set" / side, ["a", "b"])
    wanted = "all 24 training images are exact copies of held-out images; give others"
    with pytest.raises(BadInput, match=wanted):
        load_splits(f"imagefolder:{tmp_path / 'set'}", size=8)


def test_a_validation_side_that_is_a_copy_of_the_test_side(tmp_path):
    fill(tmp_path / "set", ["train/a", "train/b", "test/a", "test/b"])
    for number, name in enumerate("ab"):
        for row in range(12):
            paint(tmp_path / "set" / "val" / name / f"{row}.png", 1_000 * (2 + number) + row)
    fill(tmp_path / "set", ["train/a", "train/b"])
    with pytest.raises(BadInput, match="all 24 validation images are exact copies"):
        load_splits(f"imagefolder:{tmp_path / 'set'}", size=8)


def test_what_copies_took_away_is_told_where_too_few_are_left(tmp_path):
    fill(tmp_path / "set", ["train/a", "test/a"], count=12)
    for row in range(12):
        paint(tmp_path / "set" / "test" / "a" / f"c{row}.png", seed=row)
    paint(tmp_path / "set" / "train" / "a" / "own.png", seed=9_999)
    told = r"no image is left for '\w+' \(.*; 12 exact copies of held-out images left out\)"
    with pytest.raises(BadInput, match=told):
        load_splits(f"imagefolder:{tmp_path / 'set'}", size=8)


OTHER_FILES = {
    "set.zip": (b"PK\3\4", "a zip; unpack it first and give its folder"),
    "set.7z": (b"7z\xbc\xaf\x27\x1c", "a 7z; unpack it first"),
    "set.parquet": (b"PAR1", "a parquet file; unpack it first"),
    "one.png": (b"\x89PNG\r\n\x1a\n", "one picture; give a folder of pictures"),
    "labels.csv": (b"file,label\n", "a table; give the folder that holds it"),
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_a_file_that_is_no_tar_is_told_by_its_kind(tmp_path, name):
    first, wanted = OTHER_FILES[name]
    (tmp_path / name).write_bytes(first + bytes(100))
    with pytest.raises(BadInput, match=wanted):
        load_splits(f"imagefolder:{tmp_path / name}", size=8)


def test_what_is_no_tar_of_any_kind_is_told_in_one_line(tmp_path):
    (tmp_path / "set.bin").write_bytes(b"nothing like a tar" * 100)
    with pytest.raises(Corrupt, match="not a whole tar") as caught:
        load_splits(f"imagefolder:{tmp_path / 'set.bin'}", size=8)
    assert len(str(caught.value).splitlines()) == 1
