"""How people's folders are laid out: sides by many names, tables, strays, Tiny ImageNet."""

import tarfile

import pytest
from painted import fill, paint, sizes, total

from splitlab.data import load_splits
from splitlab.data.folders.sides import side_of, sides_of
from splitlab.errors import BadInput


def loaded(folder, **options):
    return load_splits(f"imagefolder:{folder}", size=8, **options)


def noted(splits, start):
    return [note for note in splits.notes if note.startswith(start)]


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "test"),
        ("training_set", "test_set"),
        ("training", "testing"),
        ("Train", "Valid"),
        ("seg_train", "seg_test"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("TrainSet", "TestSet"),
        ("train2017", "val2017"),
        ("flowers_train", "flowers_test"),
        ("data/archive/train_images", "data/archive/test_images"),
        ("train/images", "val/images"),
        ("train", "eval"),
        ("training", "evaluation"),
        ("train", "holdout"),
        ("train", "held_out"),
        ("train", "check"),
        ("training", "query"),
        ("train_data", "eval_data"),
        ("Train_Set", "Validate"),
        ("trainval", "test"),
        ("train_val", "test"),
        ("train-set", "public_test"),
        ("trainA", "testA"),
        ("TrainImages", "TestImages"),
        ("learn", "test"),
        ("fit", "val"),
    ],
)
def test_folders_that_name_sides(tmp_path, train, test):
    fill(tmp_path, [f"{side}/{name}" for side in (train, test) for name in ("cat", "dog")], 20)
    splits = loaded(tmp_path)
    assert splits.classes == ("cat", "dog")
    assert sizes(splits) == [20, 16, 4, 40]
    assert splits.notes == ()


@pytest.mark.parametrize("name", ["cat", "steam train", "trainers", "contest", "valley", "latest"])
def test_names_of_classes_are_no_sides(name):
    assert side_of(name) is None


def test_a_class_called_train_stays_a_class_and_that_is_said(tmp_path):
    fill(tmp_path, ["train", "bus", "car", "check"])
    splits = loaded(tmp_path)
    assert splits.classes == ("bus", "car", "check", "train")
    assert splits.notes == (
        "used as classes, though their names mean a side of the data: 2 (check, train)",
    )
    assert sides_of(["train", "bus"]) is None


def test_evaluation_beside_validation_is_the_test_side(tmp_path):
    fill(
        tmp_path, [f"{side}/{c}" for side in ("training", "validation", "evaluation") for c in "ab"]
    )
    splits = loaded(tmp_path)
    assert sizes(splits)[2:] == [24, 24]
    assert splits.notes == ()


def test_two_held_out_folders_are_one_side(tmp_path):
    fill(
        tmp_path,
        [f"{side}/{c}" for side in ("Training", "PublicTest", "PrivateTest") for c in "ab"],
    )
    splits = loaded(tmp_path)
    assert splits.classes == ("a", "b")
    assert len(splits.victims) == 48


@pytest.mark.parametrize("inside", ["", "/pictures", "/one"])
def test_folders_that_are_a_side_and_a_class(tmp_path, inside):
    fill(tmp_path, [f"{name}{inside}" for name in ("trainA", "trainB")], 20)
    fill(tmp_path, [f"{name}{inside}" for name in ("testA", "testB")], 5)
    splits = loaded(tmp_path)
    assert splits.classes == ("a", "b")
    assert splits.victims.labels.bincount().tolist() == [5, 5]
    assert splits.notes == (
        "folders that are a side and a class, by the words of their names: 4 "
        "(testA, testB, trainA, ...)",
    )


def test_masks_beside_the_images_are_no_side(tmp_path):
    fill(tmp_path, [f"{side}/{c}" for side in ("train", "test") for c in "ab"])
    fill(tmp_path, [f"{side}_masks/{c}" for side in ("train", "test") for c in "ab"], 5)
    splits = loaded(tmp_path)
    assert total(splits) == 48
    (note,) = splits.notes
    assert note.startswith("left out, folders that are neither training nor held-out images: 20 (")


def test_sides_inside_of_classes_are_said(tmp_path):
    fill(tmp_path, [f"{c}/{side}" for side in ("train", "test") for c in ("bottle", "cable")])
    splits = loaded(tmp_path)
    assert splits.classes == ("bottle", "cable")
    (note,) = splits.notes
    assert note.startswith("folders of one side inside a class, used like any other")
    assert note.endswith(": 4 (bottle/test, bottle/train, cable/test, ...)")


def test_strays_by_the_dozen_are_no_class(tmp_path):
    fill(tmp_path, ["cat", "dog"], 15)
    for row in range(10):
        paint(tmp_path / f"stray{row}.png")
    splits = loaded(tmp_path)
    assert splits.classes == ("cat", "dog")
    assert splits.notes == (
        "left out, images beside the folders: 10 (stray0.png, stray1.png, stray2.png, ...)",
    )


def test_more_images_beside_the_folders_than_in_them_are_a_class_and_that_is_said(tmp_path):
    fill(tmp_path, ["cat", "."], 10)
    for row in range(10):
        (tmp_path / f"._{row:02d}.png").rename(tmp_path / f"{row}.png")
    paint(tmp_path / "10.png")
    splits = loaded(tmp_path)
    assert splits.classes == ("cat", "images")
    assert splits.notes == (
        "images beside the folders, used as a class of their own (images): 11 "
        "(0.png, 1.png, 10.png, ...)",
    )


@pytest.mark.parametrize("further", ["unlabeled", "seg_pred/seg_pred", "unlabelled images"])
def test_unlabelled_folders_are_left_out_and_said(tmp_path, further):
    fill(tmp_path, ["train/a", "train/b", "test/a", "test/b"])
    fill(tmp_path, [further], count=5)
    splits = loaded(tmp_path)
    assert splits.classes == ("a", "b")
    assert total(splits) == 48
    (note,) = splits.notes
    assert note.startswith("left out, folders that are neither training nor held-out images: 5 (")


def test_without_a_held_out_side_the_training_side_is_cut(tmp_path):
    fill(tmp_path, ["train/a", "train/b"], count=30)
    fill(tmp_path, ["unlabeled"], count=5)
    splits = loaded(tmp_path)
    assert splits.classes == ("a", "b")
    assert total(splits) == 60


def test_held_out_folders_alone_are_refused(tmp_path):
    fill(tmp_path, ["test/a", "val/a"])
    with pytest.raises(BadInput, match="there are test/, val/ and no train/"):
        loaded(tmp_path)


@pytest.mark.parametrize("place", ["preview.png", "train/preview.png"])
def test_a_stray_picture_is_no_class(tmp_path, place):
    fill(tmp_path, ["train/a", "train/b", "test/a", "test/b"])
    paint(tmp_path / place)
    splits = loaded(tmp_path)
    assert splits.classes == ("a", "b")
    assert total(splits) == 48
    (note,) = splits.notes
    assert note.endswith(f": 1 ({place})")


def test_a_stray_picture_beside_class_folders(tmp_path):
    fill(tmp_path, ["a", "b"])
    paint(tmp_path / "sample.png")
    splits = loaded(tmp_path)
    assert splits.classes == ("a", "b")
    assert noted(splits, "left out, images beside") == [
        "left out, images beside the folders: 1 (sample.png)"
    ]


def test_what_systems_leave_behind(tmp_path):
    fill(tmp_path, ["set/a", "set/b"])
    for name in ("set/.DS_Store", "set/a/Thumbs.db", "__MACOSX/set/a/._1.png", "desktop.ini"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    (tmp_path / "set" / "empty").mkdir()
    (tmp_path / "set" / "photo.heic").write_bytes(b"....ftypheic")
    splits = loaded(tmp_path)
    assert splits.classes == ("a", "b")
    assert splits.notes == (
        "folders without an image: 1 (set/empty)",
        "left out, hidden or of the system: 4 (__MACOSX, desktop.ini, set/.DS_Store, ...)",
        "left out, pictures of an ending that is not read (save them as PNG or JPEG): 1 "
        "(set/photo.heic)",
    )


def tiny_imagenet(folder):
    """As `tiny-imagenet-200.zip` unpacks, with three classes."""
    classes = ["n01443537", "n01629819", "n02123045"]
    annotations = []
    for name in classes:
        for row in range(20):
            paint(folder / "train" / name / "images" / f"{name}_{row}.JPEG")
        (folder / "train" / name / f"{name}_boxes.txt").write_text(f"{name}_0.JPEG\t0\t0\t6\t6\n")
    for row in range(15):
        paint(folder / "val" / "images" / f"val_{row}.JPEG")
        annotations.append(f"val_{row}.JPEG\t{classes[row % 3]}\t0\t0\t6\t6\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(annotations))
    for row in range(10):
        paint(folder / "test" / "images" / f"test_{row}.JPEG")
    (folder / "wnids.txt").write_text("\n".join(classes))
    (folder / "words.txt").write_text("n01443537\tgoldfish\n")


@pytest.mark.parametrize("packed", [False, True])
def test_tiny_imagenet_as_downloaded(tmp_path, packed):
    place = tmp_path / "tiny-imagenet-200"
    tiny_imagenet(place)
    if packed:
        with tarfile.open(tmp_path / "tiny.tar.gz", "w:gz") as archive:
            archive.add(place, "tiny-imagenet-200")
        place = tmp_path / "tiny.tar.gz"
    splits = loaded(place)
    assert splits.classes == ("n01443537", "n01629819", "n02123045")
    assert sizes(splits) == [30, 24, 6, 15]
    assert splits.victims.labels.bincount().tolist() == [5, 5, 5]
    (lost,) = noted(splits, "left out, images without a label")
    assert lost.rpartition("label: ")[2].startswith("10 (")


def test_a_flat_folder_with_a_csv(tmp_path):
    fill(tmp_path, ["pictures"], count=30)
    rows = [f"pictures_{row:02d}.png,{'cat' if row % 3 else 'dog'}\n" for row in range(29)]
    text = "\ufefffile,label\r\n" + "".join(rows) + "gone.png,cat\n"
    (tmp_path / "labels.csv").write_text(text)
    splits = loaded(tmp_path)
    assert splits.classes == ("cat", "dog")
    assert total(splits) == 29
    assert sum(int((p.labels == 1).sum()) for p in splits.partitions.values()) == 10
    assert splits.notes == (
        "left out, images without a label: 1 (pictures/pictures_29.png)",
        "rows of a table whose image is not there: 1 (gone.png)",
    )


def test_a_csv_with_sides_and_names_without_an_ending(tmp_path):
    fill(tmp_path, ["."], count=40)
    rows = [f"._{row:02d};{'ab'[row % 2]};{'train' if row < 30 else 'test'}\n" for row in range(40)]
    for row in range(40):
        (tmp_path / f"._{row:02d}.png").rename(tmp_path / f"{row:02d}.png")
    (tmp_path / "labels.csv").write_text("id;class;split\n" + "".join(r[2:] for r in rows))
    splits = loaded(tmp_path)
    assert splits.classes == ("a", "b")
    assert sizes(splits)[3] == 10
    assert total(splits) == 40


def test_a_column_by_name(tmp_path):
    fill(tmp_path, ["images"], count=20)
    rows = [f"images_{row:02d}.png,{20 + row},{row % 2}\n" for row in range(20)]
    (tmp_path / "labels.csv").write_text("file,age,gender\n" + "".join(rows))
    assert loaded(tmp_path).classes == ("images",)
    assert loaded(f"{tmp_path}?label=gender").classes == ("0", "1")
    with pytest.raises(BadInput, match=r"\?label=race: .*columns: file, age, gender"):
        loaded(f"{tmp_path}?label=race")


def test_flat_sides_with_a_table_each(tmp_path):
    fill(tmp_path, ["train", "test"], count=20)
    for side in ("train", "test"):
        rows = [f"{side}_{row:02d}.png,{'xy'[row % 2]}\n" for row in range(20)]
        (tmp_path / f"{side}.csv").write_text("filename,label\n" + "".join(rows))
    splits = loaded(tmp_path)
    assert splits.classes == ("x", "y")
    assert splits.victims.labels.bincount().tolist() == [10, 10]
    assert splits.notes == ()


def test_an_unlabelled_test_folder_brings_no_victims(tmp_path):
    fill(tmp_path, ["train/cat", "train/dog", "test"], count=30)
    splits = loaded(tmp_path)
    assert splits.classes == ("cat", "dog")
    assert total(splits) == 60
    (note,) = splits.notes
    assert note.startswith("left out, images without a label: 30 (test/")


def test_classes_of_one_side_alone(tmp_path):
    fill(tmp_path, ["train/a", "train/b", "train/rare", "test/a", "test/b"])
    fill(tmp_path, ["test/strange"], count=3)
    splits = loaded(tmp_path)
    assert splits.classes == ("a", "b", "rare")
    assert len(splits.victims) == 24
    assert splits.notes == (
        "left out, images of classes that only test/ has: 3 (strange)",
        "classes without an image in test/: 1 (rare)",
    )


def test_sides_whose_classes_have_other_names_are_refused(tmp_path):
    fill(tmp_path, ["train/cat", "train/dog", "test/Cat", "test/Dog"])
    with pytest.raises(BadInput, match=r"24 of 24 images of test/ .*\(Cat, Dog; it has cat, dog\)"):
        loaded(tmp_path)


def test_one_class_alone_is_said(tmp_path):
    fill(tmp_path, ["."], count=0)
    for row in range(30):
        paint(tmp_path / f"{row}.png")
    assert loaded(tmp_path).notes == (
        "all images are of one class (images) as nothing labels them: accuracy says nothing",
    )


def test_a_class_too_small_to_be_trained_is_said(tmp_path):
    fill(tmp_path, ["a", "b"], count=40)
    for name in "cdefgh":
        fill(tmp_path, [name], count=1)
    splits = loaded(tmp_path)
    known = set(splits.train.labels.tolist())
    absent = [name for number, name in enumerate(splits.classes) if number not in known]
    assert absent
    (note,) = splits.notes
    assert note.startswith(f"classes too small to have a training image: {len(absent)} (")
