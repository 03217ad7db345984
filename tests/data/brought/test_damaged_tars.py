"""A tar is read to its end or refused: Python's reader takes any bad header for the end."""

import bz2
import gzip
import io
import lzma
import shutil
import subprocess
import tarfile

import pytest
from painted import picture, total

from splitlab.data import load_splits
from splitlab.errors import Corrupt

COUNT = 40
BLOCK = 512


def added(archive, name, data):
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def made(names=None, form=tarfile.GNU_FORMAT):
    """A tar of two classes, and where each header is."""
    names = names or [f"{'ab'[n % 2]}/{n:02d}.png" for n in range(COUNT)]
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for name in names:
            added(archive, name, saved())
    whole = file.getvalue()
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        return whole, [member.offset for member in archive]


def saved():
    file = io.BytesIO()
    picture((16, 16)).save(file, "PNG")
    return file.getvalue()


def over(data, at, new):
    return data[:at] + new + data[at + len(new) :]


def loaded(tmp_path, data, name="set.tar"):
    (tmp_path / name).write_bytes(data)
    return load_splits(f"imagefolder:{tmp_path / name}", size=8)


WHOLE, AT = made()
HEADER = AT[COUNT // 2]
END = len(WHOLE.rstrip(b"\0")) // BLOCK * BLOCK + BLOCK
DAMAGED = {
    "a bit of a name": over(WHOLE, HEADER + 3, bytes([WHOLE[HEADER + 3] ^ 1])),
    "a bit of a size": over(WHOLE, HEADER + 130, bytes([WHOLE[HEADER + 130] ^ 1])),
    "a checksum": over(WHOLE, HEADER + 148, b"garbage!"),
    "a number": over(WHOLE, HEADER + 108, b"no octal"),
    "the first header": over(WHOLE, 3, b"\xff"),
    "cut at a header": WHOLE[:HEADER],
    "cut in a header": WHOLE[: HEADER + 100],
    "cut behind a header": WHOLE[: HEADER + BLOCK],
    "cut in a picture": WHOLE[: HEADER + BLOCK + 90],
    "cut in what fills a block": WHOLE[: AT[COUNT // 2 + 1] - 3],
    "512 zeros": over(WHOLE, HEADER, bytes(BLOCK)),
    "1 KiB of zeros": over(WHOLE, HEADER, bytes(2 * BLOCK)),
    "the first header zeroed": over(WHOLE, 0, bytes(BLOCK)),
    "two joined": WHOLE + made([f"c/{n}.png" for n in range(20)])[0],
    "words behind the end": WHOLE + b"\0" * 5 + b"and more",
    "pax, a bit of a name": (lambda data, at: over(data, at[20] + 3, b"~"))(
        *made(form=tarfile.PAX_FORMAT)
    ),
}


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("kind", DAMAGED)
def test_nothing_is_lost_without_a_word(tmp_path, kind, pack):
    data = pack(DAMAGED[kind])
    if kind == "cut at a header" and pack is not bytes:
        # What packed it says that it is whole: so a program forgot to close its tar.
        splits = loaded(tmp_path, data)
        assert total(splits) == COUNT // 2
        last = f"b/{COUNT // 2 - 1:02d}.png"
        told = f"the tar has no whole end marker; the last file that is there: 1 ({last})"
        assert splits.notes == (told,)
        return
    with pytest.raises(Corrupt, match=r"set\.tar: not a whole tar") as caught:
        loaded(tmp_path, data)
    assert "copy it again" in str(caught.value)


def test_two_that_were_packed_and_joined(tmp_path):
    other = made([f"c/{n}.png" for n in range(20)])[0]
    for pack in (gzip.compress, bz2.compress, lzma.compress):
        with pytest.raises(Corrupt, match=r"it ends at byte \d+ after b/39\.png, but more follows"):
            loaded(tmp_path, pack(WHOLE) + pack(other))


def test_the_place_and_the_remedy_are_told(tmp_path):
    with pytest.raises(Corrupt, match=rf"header at byte {HEADER} after b/19\.png is damaged"):
        loaded(tmp_path, DAMAGED["a checksum"])
    with pytest.raises(Corrupt, match=rf"header at byte {HEADER} after b/19\.png is cut short"):
        loaded(tmp_path, DAMAGED["cut in a header"])
    with pytest.raises(Corrupt, match=r"`truncate -s \+1024 set\.tar` adds the marker"):
        loaded(tmp_path, DAMAGED["cut at a header"])
    mended = loaded(tmp_path, DAMAGED["cut at a header"] + bytes(1024))
    assert total(mended) == COUNT // 2
    with pytest.raises(Corrupt, match="tar --ignore-zeros -xf"):
        loaded(tmp_path, DAMAGED["two joined"])


@pytest.mark.parametrize("zeros", [1024, 10 * BLOCK, 1030, 3 * 2**20])
def test_ends_that_writers_make(tmp_path, zeros):
    splits = loaded(tmp_path, WHOLE[:END] + bytes(zeros))
    assert total(splits) == COUNT
    assert splits.notes == ()


@pytest.mark.parametrize("zeros", [BLOCK, 100, 1023])
def test_half_an_end_marker_is_said(tmp_path, zeros):
    splits = loaded(tmp_path, WHOLE[:END] + bytes(zeros))
    assert total(splits) == COUNT
    (note,) = splits.notes
    assert note.startswith("the tar has no whole end marker")


@pytest.mark.parametrize(
    ("form", "more"),
    [
        *[(form, []) for form in ("v7", "oldgnu", "gnu", "ustar", "pax")],
        *[(form, ["--sparse"]) for form in ("oldgnu", "gnu", "pax")],
        *[("gnu", [option]) for option in ("-z", "-j", "-J", "--blocking=1")],
    ],
)
def test_what_gnu_tar_writes(tmp_path, form, more):
    if shutil.which("tar") is None:
        pytest.skip("there is no tar")
    for number in range(COUNT):
        file = tmp_path / "set" / "ab"[number % 2] / f"{number}{'x' * 60}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(saved() + (bytes(40_000) if more == ["--sparse"] else b""))
    command = ["tar", f"--format={form}", *more, "-cf", "set.tar", "set"]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True)
    if done.returncode:
        pytest.skip(f"this tar has no such option: {done.stderr.decode().strip()}")
    splits = load_splits(f"imagefolder:{tmp_path / 'set.tar'}", size=8)
    assert total(splits) == COUNT
    assert splits.notes == ()


def test_a_tar_that_was_appended_to(tmp_path):
    (tmp_path / "set.tar").write_bytes(WHOLE)
    with tarfile.open(tmp_path / "set.tar", "a") as archive:
        for number in range(20):
            added(archive, f"c/{number}.png", saved())
    splits = load_splits(f"imagefolder:{tmp_path / 'set.tar'}", size=8)
    assert total(splits) == COUNT + 20
    assert splits.notes == ()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_a_file_of_nothing_is_called_empty(tmp_path, pack):
    with pytest.raises(Corrupt, match=r"set\.tar: not a whole tar \(it is empty\)"):
        loaded(tmp_path, pack(b""))


def test_words_are_no_tar(tmp_path):
    with pytest.raises(Corrupt, match="neither plain nor packed by gzip, bzip2 or xz"):
        loaded(tmp_path, b"words " * 1000)


def test_numbers_that_pythons_reader_trips_over(tmp_path):
    """Of a sparse file's map, of a size below zero: no traceback, no endless loop."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        added(archive, "a/0.png", saved())
        member = tarfile.TarInfo("a/1.png")
        member.size = BLOCK
        member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
        archive.addfile(member, io.BytesIO(b"x\n" * (BLOCK // 2)))
    with pytest.raises(Corrupt, match="not a whole tar"):
        loaded(tmp_path, file.getvalue())
    header = bytearray(WHOLE[HEADER : HEADER + BLOCK])
    header[124:136] = (-2 * BLOCK).to_bytes(12, "big", signed=True)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    with pytest.raises(Corrupt, match="not a whole tar"):
        loaded(tmp_path, over(WHOLE, HEADER, bytes(header)))
