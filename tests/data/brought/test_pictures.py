"""Files as cameras, scanners and programs write them: used, or refused by name; never black."""

import subprocess
import sys

import numpy as np
import pytest
from painted import fill, picture
from PIL import Image, TiffImagePlugin

from splitlab.data import load_splits, read_image
from splitlab.data.pictures.decode import decode, strict_about_size
from splitlab.data.pictures.not_an_image import NotAnImage
from splitlab.errors import BadInput


def read(path, size=8):
    with strict_about_size():
        return decode(path.read_bytes(), size)


def grey(low, high, dtype):
    return np.linspace(low, high, 64).reshape(8, 8).astype(dtype)


def exif(**fields):
    found = Image.Exif()
    found[0x010F] = "maker"
    for tag, value in fields.items():
        found[int(tag[1:])] = value
    return found.tobytes()


ORIENTATION = 0x0112


def entry(tag, kind, count, value, order="little"):
    return b"".join(
        number.to_bytes(size, order)
        for number, size in ((tag, 2), (kind, 2), (count, 4), (value, 4))
    )


def raw_exif(*entries, order="little", after=b""):
    """An EXIF block written by hand, so that any entry of it may be broken."""
    head = (b"II*\0" if order == "little" else b"MM\0*") + (8).to_bytes(4, order)
    body = len(entries).to_bytes(2, order) + b"".join(entries) + bytes(4)
    return b"Exif\0\0" + head + body + after


TURNED = entry(ORIENTATION, 3, 1, 6)
BROKEN = {
    "srational": raw_exif(TURNED, entry(0x9204, 10, 1, 38), after=b"\1\0\0\0"),
    "zero denominator": raw_exif(TURNED, entry(0x011A, 5, 1, 38), after=bytes(8)),
    "offset behind the end": raw_exif(TURNED, entry(0x011A, 5, 1, 0xFFFFFF)),
    "gps behind the end": raw_exif(TURNED, entry(0x8825, 4, 1, 0xFFFFFF)),
    "text as resolution": raw_exif(entry(0x0128, 3, 1, 2), entry(0x011A, 2, 4, 0x41424344)),
    "unknown type": raw_exif(TURNED, entry(0x011A, 99, 1, 0)),
    "endless count": raw_exif(TURNED, entry(0x010F, 2, 0x7FFFFFFF, 8)),
    "orientation as text": raw_exif(entry(ORIENTATION, 2, 2, 0x3636)),
    "orientation of 77": raw_exif(entry(ORIENTATION, 3, 1, 77)),
    "two orientations": raw_exif(entry(ORIENTATION, 3, 2, 0x00060006)),
    "more entries than bytes": b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + TURNED,
    "cut off": raw_exif(TURNED)[:20],
    "a header alone": b"Exif\0\0II*\0",
    "no header": b"Exif\0\0nothing of the kind",
}


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_exif_never_costs_the_picture(tmp_path, kind, ending):
    image = picture((12, 8))
    image.save(tmp_path / "a.png")
    clean = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    options = {"lossless": True} if ending == "webp" else {}
    image.save(tmp_path / f"b.{ending}", exif=BROKEN[kind], **options)
    found = read(tmp_path / f"b.{ending}")
    assert found.pixels.shape == (8, 8, 3)
    turned = "turned upright" in found.done
    # What says "turned" was turned, and the other way round.
    assert "8x8" in found.done
    assert found.done.startswith("12x8 RGB")
    if ending != "jpg":
        upright = np.rot90(clean, -1)[2:10] if turned else clean[:, 2:10]
        assert np.array_equal(found.pixels, upright)


def test_the_field_of_a_camera_that_pillow_cannot_write_again(tmp_path):
    """exif_transpose writes the EXIF anew and fails; the orientation is read all the same."""
    picture((12, 8)).save(tmp_path / "a.jpg", exif=BROKEN["srational"])
    assert "turned upright" in read(tmp_path / "a.jpg").done


@pytest.mark.parametrize("value", [0, 1, 2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("ending", ["png", "tiff"])
def test_turned_upright_is_said_of_what_was_turned(tmp_path, value, ending):
    image = picture((8, 8))
    image.save(tmp_path / f"a.{ending}", exif=exif(t274=value))
    found = read(tmp_path / f"a.{ending}")
    assert ("turned upright" in found.done) == (value > 1)
    same = np.array_equal(found.pixels, np.asarray(image))
    assert same == (value < 2)


def test_a_png_whose_exif_chunk_is_damaged(tmp_path):
    image = picture()
    image.save(tmp_path / "a.png", exif=exif(t274=6))
    data = bytearray((tmp_path / "a.png").read_bytes())
    at = data.index(b"eXIf")
    data[at + 12] ^= 0xFF  # the checksum is wrong now
    (tmp_path / "a.png").write_bytes(data)
    found = read(tmp_path / "a.png")
    assert np.array_equal(found.pixels, np.asarray(image))
    assert found.done.endswith("its EXIF cannot be read")


def test_one_broken_file_never_loses_a_data_set(tmp_path):
    fill(tmp_path / "set", ["a", "b"], ending="jpg")
    picture((9, 8)).save(tmp_path / "set" / "a" / "exif.jpg", exif=BROKEN["srational"])
    (tmp_path / "set" / "a" / "page.jpg").write_text("<html>404</html>")
    (tmp_path / "set" / "a" / "none.jpg").write_bytes(b"")
    (tmp_path / "set" / "b" / "lfs.png").write_text("version https://git-lfs.github.com/spec/v1\n")
    splits = load_splits(f"imagefolder:{tmp_path / 'set'}", size=8)
    assert sum(len(part) for part in splits.partitions.values()) == 25
    told = " ".join(splits.notes)
    for words in ("1 (a/page.jpg)", "it is empty): 1 (a/none.jpg)", "git-lfs pointer", "b/lfs.png"):
        assert words in told


SCALED = {
    "floats in [0, 1]": (grey(0, 1, np.float32), "floats in [0, 1]"),
    "floats to 255": (grey(0, 255, np.float32), "floats in 0 to 255"),
    "floats to 65535": (grey(0, 65_535, np.float32), "floats in 0 to 65535"),
    "16 bits": (grey(0, 65_535, np.uint16), "16 bits"),
    "12 of 16 bits": (grey(0, 4_095, np.uint16), "12 bits"),
    "8 of 16 bits": (grey(0, 255, np.uint16), "8 bits"),
    "8 of 32 bits": (grey(0, 255, np.int32), "8 bits"),
    "16 of 32 bits": (grey(0, 65_535, np.int32), "16 bits"),
}


@pytest.mark.parametrize("kind", SCALED)
def test_greys_of_a_known_range_are_scaled(tmp_path, kind):
    values, said = SCALED[kind]
    Image.fromarray(values).save(tmp_path / "a.tif")
    found = read(tmp_path / "a.tif")
    assert said in found.done
    assert found.remarks == (f"greys scaled from {said}",)
    ramp = np.linspace(0, 255, 64).reshape(8, 8)
    assert np.abs(found.pixels[..., 0] - ramp).max() <= 1.5


@pytest.mark.parametrize("values", [SCALED["16 bits"][0], SCALED["8 of 16 bits"][0]])
def test_greys_of_16_bits_in_a_png(tmp_path, values):
    Image.fromarray(values).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", 8)[0].float().std() > 60


REFUSED = {
    "signed floats": (grey(-1, 1, np.float32), "values from -1 to 1"),
    "NaN": (np.where(grey(0, 9, int) == 3, np.nan, 0.5).astype(np.float32), "not finite"),
    "infinity": (np.full((8, 8), np.inf, np.float32), "not finite"),
    "floats to 2": (grey(0, 2, np.float32), "neither in"),
    "large floats": (grey(0, 1e9, np.float32), "no known scale"),
    "signed integers": (grey(-300, 300, np.int32), "values from -300 to 300"),
    "large integers": (grey(0, 2**31 - 1, np.int32), "no known scale"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_greys_of_no_known_range_are_refused(tmp_path, kind):
    values, why = REFUSED[kind]
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(NotAnImage, match=why):
        read(tmp_path / "a.tif")
    fill(tmp_path / "set", ["a"])
    (tmp_path / "a.tif").rename(tmp_path / "set" / "a" / "odd.tif")
    notes = load_splits(f"imagefolder:{tmp_path / 'set'}", size=8).notes
    assert any("odd.tif" in note and why in note for note in notes)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "CMYK", "YCbCr", "RGBX"])
def test_other_modes_keep_what_they_show(tmp_path, mode):
    image = picture(mode="RGB").convert(mode)
    ending = "png" if mode in ("1", "L", "P", "LA") else "tif"
    image.save(tmp_path / f"a.{ending}")
    found = read(tmp_path / f"a.{ending}").pixels.astype(int)
    wanted = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(found - wanted).mean() < 3


@pytest.mark.parametrize("ending", ["gif", "webp", "png", "tif"])
def test_of_several_frames_the_first_is_used_and_that_is_said(tmp_path, ending):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / f"a.{ending}", save_all=True, append_images=frames[1:])
    found = read(tmp_path / f"a.{ending}")
    assert "first of 3 frames" in found.done
    assert found.remarks == ("several frames or pages (the first alone is used)",)
    assert np.abs(found.pixels.astype(int) - [255, 0, 0]).max() < 12


@pytest.mark.parametrize(
    "ending",
    [
        "jpg",
        "jfif",
        "jpe",
        "JPEG",
        "JPG",
        "webp",
        "avif",
        "bmp",
        "ppm",
        "pgm",
        "png",
        "gif",
        "tif",
        "tiff",
        "tga",
        "jp2",
    ],
)
def test_every_ending_is_found(tmp_path, ending):
    fill(tmp_path / "set", ["a"], ending=ending)
    splits = load_splits(f"imagefolder:{tmp_path / 'set'}", size=8)
    assert sum(len(part) for part in splits.partitions.values()) == 12


def test_the_bytes_decide_and_not_the_ending(tmp_path):
    for row in range(12):
        (tmp_path / "set" / "a").mkdir(parents=True, exist_ok=True)
        picture().save(tmp_path / "set" / "a" / f"{row}.jpg", format=("PNG", "WEBP")[row % 2])
    splits = load_splits(f"imagefolder:{tmp_path / 'set'}", size=8)
    assert sum(len(part) for part in splits.partitions.values()) == 12


def test_a_picture_of_too_many_pixels_is_left_out_by_name(tmp_path, monkeypatch):
    fill(tmp_path / "set", ["a"])
    picture((60, 50)).save(tmp_path / "set" / "a" / "huge.png")
    for limit in (2_000, 1_000):  # twice over warns, more is an error in Pillow
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(BadInput, match=rf"huge\.png: .* at most {limit:,} are read"):
            read_image(tmp_path / "set" / "a" / "huge.png", 8)
        splits = load_splits(f"imagefolder:{tmp_path / 'set'}", size=8 + limit // 1_000)
        assert splits.notes[0].endswith("1 (a/huge.png)")


def test_a_tiff_of_a_kind_that_is_not_read(tmp_path):
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[258], info[277] = (8,), 7  # seven channels
    Image.new("L", (8, 8), 9).save(tmp_path / "a.tif", tiffinfo=info)
    with pytest.raises(NotAnImage, match=r"a TIFF that is damaged or of a kind that is not read"):
        read(tmp_path / "a.tif")


def test_nothing_of_pillow_reaches_the_terminal(tmp_path):
    """Warnings of Pillow, its log and libtiff's own words; in a process of its own, as users do."""
    fill(tmp_path / "set", ["a"])
    folder = tmp_path / "set" / "a"
    for number, kind in enumerate(BROKEN):
        picture().save(folder / f"{number}.jpg", exif=BROKEN[kind])
    picture().save(folder / "t.tif", compression="tiff_lzw")
    data = bytearray((folder / "t.tif").read_bytes())
    data[40:60] = bytes(20)
    (folder / "t.tif").write_bytes(data)
    palette = picture().convert("P")
    palette.save(folder / "p.png", transparency=b"\0\1\2\3")
    words = "import sys; from splitlab.data import load_splits; load_splits(sys.argv[1], size=8)"
    done = subprocess.run(
        [sys.executable, "-c", words, f"imagefolder:{tmp_path / 'set'}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_truncated_pictures_are_left_out_too(tmp_path):
    fill(tmp_path / "set", ["a"])
    picture((64, 64)).save(tmp_path / "cut.png")
    data = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "set" / "a" / "cut.png").write_bytes(data[: len(data) // 2])
    notes = load_splits(f"imagefolder:{tmp_path / 'set'}", size=8).notes
    assert any("damaged" in note and "a/cut.png" in note for note in notes)
