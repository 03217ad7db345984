"""Folders that may be no classes are told: folds, months, masks, one picture in several."""

import shutil

import pytest
from painted import fill, paint, total

from splitlab.data import load_splits
from splitlab.data.folders.doubts import seeming_masks


def loaded(folder):
    return load_splits(f"imagefolder:{folder}", size=8)


FOLDS = [f"fold_{fold}/c{c}" for fold in range(3) for c in range(2)]
MONTHS = [f"2021-0{month}/{name}" for month in (1, 2, 3) for name in ("Red Fox", "Øre")]
UNEVEN = ["A/cat", "A/dog", "B/cat", "B/dog", "C/cat", "C/emu"]


@pytest.mark.parametrize(
    ("places", "tops", "inner"),
    [
        (FOLDS, "fold_0, fold_1, fold_2", "c0, c1"),
        (MONTHS, "2021-01, 2021-02, 2021-03", "Red Fox, Øre"),
        (UNEVEN, "A, B, C", "cat, dog"),
        ([f"data/{p}" for p in FOLDS], "fold_0, fold_1, fold_2", "c0, c1"),
        ([f"train/{p}" for p in FOLDS] + ["test/fold_0/c0"], "fold_0, fold_1, fold_2", "c0, c1"),
    ],
)
def test_folds_and_months_are_told_with_both_readings(tmp_path, places, tops, inner):
    fill(tmp_path, places)
    splits = loaded(tmp_path)
    assert splits.classes == tuple(tops.split(", "))
    (note,) = [n for n in splits.notes if n.startswith("folders used as classes")]
    assert f"folders of the same names ({inner})" in note
    assert "give one of the folders alone" in note
    assert note.endswith(f": 3 ({tops})")


@pytest.mark.parametrize(
    "places",
    [
        ["cat/brown", "cat/white", "dog/brown", "dog/spotted"],
        ["cat/images", "dog/images"],
        ["cat/a", "cat/b", "dog/c", "dog/d"],
    ],
)
def test_folders_inside_of_classes_that_differ(tmp_path, places):
    fill(tmp_path, places)
    assert loaded(tmp_path).notes == ()


def test_voc_as_downloaded(tmp_path):
    root = tmp_path / "VOCdevkit" / "VOC2012"
    (root / "Annotations").mkdir(parents=True)
    for number in range(20):
        paint(root / "JPEGImages" / f"2007_{number:06d}.jpg")
        paint(root / "SegmentationClass" / f"2007_{number:06d}.png")
        (root / "Annotations" / f"2007_{number:06d}.xml").write_text("<annotation/>")
    splits = loaded(tmp_path)
    (note,) = [n for n in splits.notes if "seem masks" in n]
    assert ": 20 (VOCdevkit/VOC2012/SegmentationClass/2007_000000.png, " in note


def test_masks_beside_their_pictures(tmp_path):
    for row in range(20):
        for name in "ab":
            paint(tmp_path / name / f"im_{row}.png")
            paint(tmp_path / name / f"im_{row}_mask.png")
    splits = loaded(tmp_path)
    assert total(splits) == 80
    assert splits.notes == (
        "pictures that seem masks of others by their names, used like any other (take them out of "
        "the folder if they are): 40 (a/im_0_mask.png, a/im_10_mask.png, a/im_11_mask.png, ...)",
    )


PAIRS = [
    ("benign/benign (1).png", "benign/benign (1)_mask_1.png"),
    ("images/Abyssinian_1.jpg", "annotations/trimaps/Abyssinian_1.png"),
    ("ISIC_Data/ISIC_0000000.jpg", "ISIC_GroundTruth/ISIC_0000000_segmentation.png"),
    (
        "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png",
        "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png",
    ),
    ("images/1.png", "masks/1.png"),
    ("x/img_1.png", "x/mask_1.png"),
    ("x/7.png", "x/7_seg0.png"),
    ("JPEGImages/7.jpg", "SegmentationObject/7.png"),
]


@pytest.mark.parametrize(("picture", "mask"), PAIRS)
def test_how_masks_are_called(picture, mask):
    assert seeming_masks([picture, mask]) == [mask]


@pytest.mark.parametrize(
    "names",
    [
        ["with_mask/1.jpg", "without_mask/1.jpg"],
        ["mask/1.jpg", "face/1.jpg"],
        ["seg_train/a/1.jpg", "seg_test/a/1.jpg"],
        ["cat/1.jpg", "dog/1.jpg"],
        ["labels/1.jpg", "boxes/1.jpg"],
        ["masks/1.jpg", "masks/2.jpg"],
    ],
)
def test_what_is_no_mask(names):
    assert seeming_masks(names) == []


def test_one_picture_under_several_classes(tmp_path):
    fill(tmp_path, ["a", "b", "c"], 20)
    shutil.copy(tmp_path / "a" / "a_03.png", tmp_path / "b" / "again.png")
    shutil.copy(tmp_path / "a" / "a_04.png", tmp_path / "a" / "again.png")
    splits = loaded(tmp_path)
    assert splits.notes == (
        "pictures that lie under several classes, exact copies at this size: 2 (a/a_03.png, "
        "b/again.png)",
    )


def test_one_picture_under_two_classes_of_two_sides(tmp_path):
    fill(tmp_path, ["train/a", "train/b", "test/a", "test/b"], 20)
    shutil.copy(tmp_path / "train" / "a" / "train_a_03.png", tmp_path / "test" / "b" / "x.png")
    notes = loaded(tmp_path).notes
    assert any("(test/b/x.png, train/a/train_a_03.png)" in note for note in notes)
