"""Linked classes and pictures, in folders and tars; circles and ways out are left out by name."""

import io
import os
import tarfile

import pytest
from painted import fill, paint, total

from splitlab.data import load_splits


def loaded(path):
    return load_splits(f"imagefolder:{path}", size=8)


def test_linked_class_folders_are_classes(tmp_path):
    fill(tmp_path / "store", ["cat", "dog"])
    (tmp_path / "set").mkdir()
    for name in ("cat", "dog"):
        (tmp_path / "set" / name).symlink_to(tmp_path / "store" / name)
    splits = loaded(tmp_path / "set")
    assert splits.classes == ("cat", "dog")
    assert total(splits) == 24
    assert splits.notes == ("linked from outside of the folder, and used: 2 (cat, dog)",)


def test_a_linked_root_and_links_inside_it(tmp_path):
    fill(tmp_path / "real", ["a", "b"])
    (tmp_path / "real" / "c").symlink_to("a")
    (tmp_path / "set").symlink_to(tmp_path / "real")
    splits = loaded(tmp_path / "set")
    assert splits.classes == ("a", "b", "c")
    assert [note.partition(":")[0] for note in splits.notes] == [
        "pictures that lie under several classes, exact copies at this size"
    ]


def test_circles_and_links_to_nothing_are_left_out(tmp_path):
    fill(tmp_path / "set", ["a", "b"])
    (tmp_path / "set" / "a" / "up").symlink_to("..")
    (tmp_path / "set" / "b" / "root").symlink_to("/")
    (tmp_path / "set" / "b" / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "set" / "b" / "self.png").symlink_to("self.png")
    os.mkfifo(tmp_path / "set" / "b" / "pipe.png")
    splits = loaded(tmp_path / "set")
    assert splits.classes == ("a", "b")
    assert total(splits) == 24
    assert "left out, links that lead back to a folder they lie in: 2 (a/up, b/root)" in (
        splits.notes
    )
    assert "left out, links that lead nowhere: 2 (b/gone.png, b/self.png)" in splits.notes
    assert "left out, neither files nor folders: 1 (b/pipe.png)" in splits.notes


def test_a_new_link_is_noticed_behind_the_cache(tmp_path):
    fill(tmp_path / "set", ["a", "b"])
    assert loaded(tmp_path / "set").notes == ()
    (tmp_path / "set" / "b" / "gone.png").symlink_to("nowhere.png")
    assert loaded(tmp_path / "set").notes == ("left out, links that lead nowhere: 1 (b/gone.png)",)


def link(archive, name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    archive.addfile(info)


def member(archive, name, path):
    data = path.read_bytes()
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


@pytest.fixture
def pictures(tmp_path):
    for row in range(40):
        paint(tmp_path / "pictures" / f"{row:02d}.png")
    return sorted((tmp_path / "pictures").iterdir())


def test_a_tar_of_hard_links_keeps_its_classes(tmp_path, pictures):
    """As `tar` writes a folder whose files were linked with `cp -l`: the first is whole."""
    for number, path in enumerate(pictures):
        for place in ("all", "ab"[number % 2]):
            (tmp_path / "set" / place).mkdir(parents=True, exist_ok=True)
            (tmp_path / "set" / place / path.name).hardlink_to(path)
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        archive.add(tmp_path / "set", "set")
        kinds = {m.type for m in archive.getmembers()}
    assert tarfile.LNKTYPE in kinds
    splits = loaded(tmp_path / "set.tar")
    assert splits.classes == ("a", "all", "b")
    assert total(splits) == 80
    assert splits.hash == loaded(tmp_path / "set").hash


@pytest.mark.parametrize("links_first", [True, False])
def test_a_tar_of_symbolic_links(tmp_path, pictures, links_first):
    """To files without an ending, through a linked folder, and to a folder as a whole."""
    with tarfile.open(tmp_path / "set.tar.gz", "w:gz") as archive:

        def links():
            for row in range(20):
                link(archive, f"set/cat/{row}.png", f"../../blobs/{row:02d}")
            link(archive, "set/dog", "../more/dogs")
            link(archive, "more", "./store")

        if links_first:
            links()
        for row, path in enumerate(pictures[:20]):
            member(archive, f"blobs/{row:02d}", path)
        for row, path in enumerate(pictures[20:]):
            member(archive, f"store/dogs/{row}.png", path)
        if not links_first:
            links()
    folder = tmp_path / "unpacked"
    with tarfile.open(tmp_path / "set.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    assert loaded(folder).hash == loaded(tmp_path / "set.tar.gz").hash
    assert "set" in loaded(tmp_path / "set.tar.gz").classes


def test_links_of_a_tar_that_lead_out_of_it_are_left_out_by_name(tmp_path, pictures):
    outside = tmp_path / "outside.png"
    pictures[0].rename(outside)
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        for row, path in enumerate(pictures[1:]):
            member(archive, f"{'ab'[row % 2]}/{row}.png", path)
        link(archive, "a/absolute.png", str(outside))
        link(archive, "a/above.png", "../../outside.png")
        link(archive, "a/hard.png", "b/none.png", tarfile.LNKTYPE)
        link(archive, "a/self.png", "self.png")
        link(archive, "b/circle", "..")
        link(archive, "passwords", "/etc")
    splits = loaded(tmp_path / "set.tar")
    assert splits.classes == ("a", "b")
    assert total(splits) == 39
    assert (
        "left out, links that lead out of the tar: 3 (a/above.png, a/absolute.png, passwords)"
        in splits.notes
    )
    assert "left out, links that lead nowhere: 2 (a/hard.png, a/self.png)" in splits.notes
    assert "left out, links that lead back to a folder they lie in: 1 (b/circle)" in splits.notes


def test_a_member_that_was_written_twice_counts_as_it_was_last(tmp_path, pictures):
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        for row, path in enumerate(pictures):
            member(archive, f"a/{row % 20}.png", path)
    (tmp_path / "set" / "a").mkdir(parents=True)
    for row, path in enumerate(pictures[20:]):
        path.rename(tmp_path / "set" / "a" / f"{row}.png")
    assert loaded(tmp_path / "set.tar").hash == loaded(tmp_path / "set").hash


KNOT = 9
"""Folders that each link to all others: nearly a million paths without a repeat."""


def test_folders_that_link_to_each_other_are_walked_a_few_times(tmp_path):
    fill(tmp_path / "set", [f"d{number}" for number in range(KNOT)], 3)
    for number in range(KNOT):
        for other in range(KNOT):
            if other != number:
                (tmp_path / "set" / f"d{number}" / f"l{other}").symlink_to(f"../d{other}")
    splits = loaded(tmp_path / "set")
    assert len(splits.classes) == KNOT
    assert any("links to a folder that was followed 32 times" in note for note in splits.notes)


def test_links_of_a_tar_that_lead_to_each_other_are_followed_a_few_times(tmp_path, pictures):
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        for number in range(KNOT):
            for row, path in enumerate(pictures[3 * number : 3 * number + 3]):
                member(archive, f"d{number}/{row}.png", path)
            for other in range(KNOT):
                if other != number:
                    link(archive, f"d{number}/l{other}", f"../d{other}")
    splits = loaded(tmp_path / "set.tar")
    assert len(splits.classes) == KNOT
    assert any("links to a folder that was followed 32 times" in note for note in splits.notes)


def test_ten_folds_of_links_are_all_followed(tmp_path):
    fill(tmp_path / "store", ["cat", "dog"], 4)
    for fold in range(10):
        for name in ("cat", "dog"):
            (tmp_path / "set" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "set" / name / f"fold{fold}").symlink_to(tmp_path / "store" / name)
    assert total(loaded(tmp_path / "set")) == 80
