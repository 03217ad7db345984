"""Damaged pictures are left out by name, never taken for black ones."""

import io

import pytest
from painted import fill, picture
from PIL import Image

from splitlab.data import load_splits
from splitlab.data.pictures.decode import decode, strict_about_size
from splitlab.data.pictures.not_an_image import NotAnImage


def saved(kind, **options):
    file = io.BytesIO()
    picture((64, 64)).save(file, kind, **options)
    return file.getvalue()


def cut(data, share):
    return data[: int(len(data) * share)]


def zeroed(data):
    half = len(data) // 2
    return data[:half] + bytes(30) + data[half + 30 :]


def without_quantization():
    """A turned JPEG whose first table of coefficients is overwritten."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved("JPEG", exif=exif)
    at = data.index(b"\xff\xdb")
    return data[:at] + b"\xff" * 4 + data[at + 4 :]


DAMAGED = {
    **{f"JPEG2000 to {s:.0%}": cut(saved("JPEG2000"), s) for s in (0.3, 0.6, 0.9, 0.98)},
    **{f"JPEG to {s:.0%}": cut(saved("JPEG"), s) for s in (0.3, 0.98)},
    **{f"WEBP to {s:.0%}": cut(saved("WEBP"), s) for s in (0.3, 0.98)},
    **{f"AVIF to {s:.0%}": cut(saved("AVIF"), s) for s in (0.3, 0.98)},
    **{f"GIF to {s:.0%}": cut(saved("GIF"), s) for s in (0.3, 0.98)},
    "TIFF, deflate": zeroed(saved("TIFF", compression="tiff_adobe_deflate")),
    "TIFF, JPEG to 98%": cut(saved("TIFF", compression="jpeg"), 0.98),
    "PNG": zeroed(saved("PNG")),
    "turned JPEG": without_quantization(),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_pixels_are_no_image(kind):
    with strict_about_size(), pytest.raises(NotAnImage, match="damaged"):
        decode(DAMAGED[kind], 8)


@pytest.mark.parametrize("compression", [None, "tiff_adobe_deflate", "tiff_lzw", "jpeg"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_tiff_is_turned_once(compression, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.new("RGB", (16, 16))
    image.paste((255, 255, 255), (0, 0, 8, 8))
    file = io.BytesIO()
    image.save(file, "TIFF", compression=compression, exif=exif)
    with strict_about_size():
        found = decode(file.getvalue(), 16)
    corners = {(y, x): found.pixels[y, x, 0] > 128 for y in (2, 13) for x in (2, 13)}
    white = {1: (2, 2), 3: (13, 13), 6: (2, 13), 8: (13, 2)}[orientation]
    assert [place for place, bright in corners.items() if bright] == [white]
    assert ("turned upright" in found.done) == (orientation > 1)


def test_what_was_turned_may_be_broken_elsewhere():
    """A PNG whose text behind the pixels is cut: the pixels and the orientation are there."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved("PNG", exif=exif)
    end = data.rindex(b"IEND") - 4
    data = data[:end] + (9_000).to_bytes(4, "big") + b"aaAa" + bytes(50)
    with strict_about_size():
        found = decode(data, 64)
    assert "turned upright" in found.done
    assert found.pixels.std() > 20
    (remark,) = found.remarks
    assert "not turned" not in remark


def test_damage_is_told_in_the_notes_and_not_on_the_terminal(tmp_path, capfd):
    fill(tmp_path / "set", ["a", "b"], 20)
    for number, data in enumerate(DAMAGED.values()):
        (tmp_path / "set" / "a" / f"bad{number}.png").write_bytes(data)
    lines = load_splits(f"imagefolder:{tmp_path / 'set'}", size=8).notes
    assert capfd.readouterr() == ("", "")
    assert all(line.startswith("left out, not an image (") for line in lines)
    told = sum(int(line.rpartition("): ")[2].partition(" ")[0]) for line in lines)
    assert told == len(DAMAGED)


def test_a_set_of_damaged_pictures_alone_is_left_with_the_others(tmp_path):
    fill(tmp_path / "set", ["a", "b"], 20)
    (tmp_path / "set" / "a" / "bad.jp2").write_bytes(DAMAGED["JPEG2000 to 60%"])
    splits = load_splits(f"imagefolder:{tmp_path / 'set'}", size=8)
    assert sum(len(part) for part in splits.partitions.values()) == 40
    (note,) = splits.notes
    assert note.startswith("left out, not an image (damaged: ")
    assert note.endswith("): 1 (a/bad.jp2)")
