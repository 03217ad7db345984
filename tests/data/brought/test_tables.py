"""Tables as people export them: encodings, headers, rows that disagree; nothing is passed over."""

import pytest
from painted import fill, sizes, total

from splitlab.data import load_splits
from splitlab.errors import BadInput


def loaded(folder):
    return load_splits(f"imagefolder:{folder}", size=8)


@pytest.fixture
def flat(tmp_path):
    """Thirty pictures without a label: images/images_00.png to images_29.png."""
    fill(tmp_path, ["images"], 30)
    return tmp_path


def rows(label, count=30):
    return [f"images_{row:02d}.png,{label(row)}\n" for row in range(count)]


NAMES = ("café", "naïve")
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_of_a_spreadsheet(flat, encoding):
    text = "file,label\r\n" + "".join(rows(lambda row: NAMES[row % 2]))
    (flat / "labels.csv").write_bytes(text.encode(encoding))
    splits = loaded(flat)
    assert splits.classes == NAMES
    guessed = encoding in ("latin-1", "cp1252", "utf-16-le", "utf-16-be")
    assert len(splits.notes) == guessed
    assert all("no UTF-8" in note and "labels.csv" in note for note in splits.notes)


def test_a_table_without_a_header(flat):
    (flat / "labels.csv").write_text("".join(rows(lambda row: "ab"[row % 2])))
    splits = loaded(flat)
    assert splits.classes == ("a", "b")
    assert total(splits) == 30


def test_a_table_without_a_header_and_with_more_columns(flat):
    (flat / "labels.csv").write_text("".join(rows(lambda row: f"{row % 5},{'xy'[row % 2]}")))
    splits = loaded(flat)
    assert splits.classes == ("images",)
    assert splits.notes[0].startswith("tables not understood as classes of images, not used (colu")
    assert "(columns: 1, 2, 3; behind the path ?label=COLUMN" in splits.notes[0]
    assert loaded(f"{flat}?label=3").classes == ("x", "y")


@pytest.mark.parametrize("column", ["dx", "ClassId", "Class Name", "class-id", "diagnosis"])
def test_more_names_of_the_class(flat, column):
    (flat / "list.csv").write_text(f"image_id,{column}\n" + "".join(rows(lambda row: row % 3)))
    assert loaded(flat).classes == ("0", "1", "2")


def test_a_table_that_is_not_understood_names_its_columns(flat):
    (flat / "list.csv").write_text("Photo,Kind of bird\n" + "".join(rows(lambda row: row % 3)))
    splits = loaded(flat)
    assert splits.classes == ("images",)
    assert (
        "tables not understood as classes of images, not used (columns: photo, kind_of_bird; "
        "behind the path ?label=COLUMN names the class's): 1 (list.csv)"
    ) in splits.notes
    for column in ("Kind of bird", "kind_of_bird"):
        assert loaded(f"{flat}?label={column}").classes == ("0", "1", "2")


def test_an_image_of_two_classes_is_left_out(flat):
    lines = [*rows(lambda row: "ab"[row % 2]), "images_04.png,b\n", "images_05.png,b\n"]
    (flat / "labels.csv").write_text("file,label\n" + "".join(lines))
    splits = loaded(flat)
    assert total(splits) == 29
    assert splits.notes == (
        "left out, images whose rows in a table name different classes or sides: 1 "
        "(images/images_04.png)",
    )


def test_a_table_of_many_labels_an_image_is_refused(flat):
    lines = [*rows(lambda row: "ab"[row % 2]), *rows(lambda _: "c")]
    (flat / "labels.csv").write_text("file,label\n" + "".join(lines))
    told = r"labels\.csv: 30 of 30 images have rows that differ \(images/images_00\.png: a, c\)"
    with pytest.raises(BadInput, match=told):
        loaded(flat)


def test_an_image_on_two_sides_is_left_out(flat):
    lines = rows(lambda row: f"{'ab'[row % 2]},{'train' if row < 20 else 'test'}")
    lines.append("images_03.png,b,test\n")
    (flat / "labels.csv").write_text("file,label,split\n" + "".join(lines))
    splits = loaded(flat)
    assert total(splits) == 29
    assert sizes(splits)[3] == 10
    assert "(images/images_03.png)" in splits.notes[0]


def test_a_column_of_sides_that_is_not_understood_is_said(flat):
    lines = rows(lambda row: f"{'ab'[row % 2]},{int(row < 20)}")
    (flat / "labels.csv").write_text("file,label,split\n" + "".join(lines))
    assert loaded(flat).notes == (
        "a column of sides that is not used (wanted train and test or val, it has 0, 1): 1 "
        "(labels.csv)",
    )


@pytest.mark.parametrize("same", [True, False])
def test_folders_win_over_a_table_and_that_is_said(tmp_path, same):
    fill(tmp_path, ["cat", "dog"], 15)
    lines = [f"cat/cat_{row:02d}.png,{'cat' if same else 'x'}\n" for row in range(15)]
    (tmp_path / "labels.csv").write_text("file,label\n" + "".join(lines))
    splits = loaded(tmp_path)
    assert splits.classes == ("cat", "dog")
    (note,) = splits.notes
    if same:
        assert note == "tables not used, as the folders are the classes: 1 (labels.csv)"
    else:
        assert "though they name another class than the folders for 15 images" in note
        assert loaded(f"{tmp_path}?label=label").classes == ("x",)


def test_a_table_whose_rows_name_several_images_at_once(tmp_path):
    for side in ("train", "test"):
        fill(tmp_path / side, ["."], 20)
        for row in range(20):
            (tmp_path / side / f"._{row:02d}.png").rename(tmp_path / side / f"{row:02d}.png")
    lines = [f"{row:02d},{'ab'[row % 2]}\n" for row in range(20)]
    (tmp_path / "train.csv").write_text("id,label\n" + "".join(lines))
    (tmp_path / "sample.csv").write_text("id,label\n" + "".join(lines))
    splits = loaded(tmp_path)
    assert splits.classes == ("a", "b")
    assert "tables not used, as no row names one image alone: 1 (sample.csv)" in splits.notes


@pytest.mark.parametrize("word", ["nan", "NaN", "NAN", "None", "NULL", "N/A", "<NA>"])
def test_a_label_that_means_none_is_no_class(flat, word):
    lines = rows(lambda row: word if row % 10 == 1 else "" if row % 10 == 0 else "ab"[row % 2])
    (flat / "labels.csv").write_text("file,label\n" + "".join(lines))
    splits = loaded(flat)
    assert splits.classes == ("a", "b")
    assert total(splits) == 24
    assert splits.notes == (
        f"left out, images whose label in a table means that there is none ({word}; rename it if "
        "it is a class): 3 (images/images_01.png, images/images_11.png, images/images_21.png)",
        "left out, images without a label: 3 (images/images_00.png, images/images_10.png, "
        "images/images_20.png)",
    )


@pytest.mark.parametrize("word", ["none", "Nano", "na", "no", "0"])
def test_a_class_whose_name_is_near_to_none(flat, word):
    (flat / "labels.csv").write_text(
        "file,label\n" + "".join(rows(lambda row: (word, "b")[row % 2]))
    )
    splits = loaded(flat)
    assert splits.classes == tuple(sorted((word, "b")))
    assert splits.notes == ()


def test_a_second_row_may_bring_the_label(flat):
    lines = [*rows(lambda row: "nan" if row < 5 else "ab"[row % 2]), *rows(lambda _: "a", 5)]
    (flat / "labels.csv").write_text("file,label\n" + "".join(lines))
    splits = loaded(flat)
    assert total(splits) == 30
    assert splits.notes == ()


def test_sides_with_a_table_tell_of_each_image_once(tmp_path):
    fill(tmp_path, ["train", "test"], 20)
    lines = [
        f"{side}_{row:02d}.png,{'nan' if row == 3 else 'ab'[row % 2]}\n"
        for side in ("train", "test")
        for row in range(20)
    ]
    lines += ["train_04.png,b\n", "gone.png,a\n"]
    (tmp_path / "labels.csv").write_text("file,label\n" + "".join(lines))
    splits = loaded(tmp_path)
    assert splits.classes == ("a", "b")
    assert total(splits) == 37
    assert [note.partition(" (")[0] for note in splits.notes] == [
        "left out, images whose label in a table means that there is none",
        "left out, images whose rows in a table name different classes or sides: 1",
        "rows of a table whose image is not there: 1",
    ]


@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("header", [True, False])
def test_blanks_around_quoted_cells(tmp_path, delimiter, header):
    fill(tmp_path, ["images"], 30)
    for row in range(30):
        (tmp_path / "images" / f"images_{row:02d}.png").rename(
            tmp_path / "images" / f"a,{row};x.png"
        )
    cells = [[f'"a,{row};x.png"', f'"big, {row % 2}; odd"'] for row in range(30)]
    if header:
        sides = ["train" if row < 20 else "test" for row in range(30)]
        cells = [
            ["Image_ID", "Label", "Split"],
            *([*c, s] for c, s in zip(cells, sides, strict=True)),
        ]
    lines = [f" {delimiter} ".join(row) + "\r\n" for row in cells]
    (tmp_path / "meta.csv").write_text("\n" + "".join(lines), newline="")
    splits = loaded(tmp_path)
    assert splits.classes == ("big, 0; odd", "big, 1; odd")
    assert splits.notes == ()
    if header:
        assert sizes(splits)[3] == 10


def test_a_row_with_a_cell_too_many_is_not_read(flat):
    lines = rows(lambda row: "big, brown" if row == 7 else f"{'ab'[row % 2]},")
    (flat / "labels.csv").write_text("file,label\n" + "".join(lines))
    splits = loaded(flat)
    assert splits.classes == ("a", "b")
    assert total(splits) == 29
    assert splits.notes == (
        "left out, images without a label: 1 (images/images_07.png)",
        "rows of a table with more cells than its header, not used (put a comma in quotes): 1 "
        "(images_07.png)",
    )
