"""Greys of more than 8 bits: one scale for all pictures of a set, and no sign that is lost."""

import tarfile

import numpy as np
import pytest
from painted import fill
from PIL import Image, TiffImagePlugin

from splitlab.data import load_splits, read_image, read_images
from splitlab.data.pictures.decode import decode, strict_about_size
from splitlab.data.pictures.not_an_image import NotAnImage


def grey(highest, dtype):
    """A ramp that differs from all others by its end."""
    return np.linspace(0, highest, 64).reshape(8, 8).astype(dtype)


def camera(folder, highest, dtype, ending):
    for number, high in enumerate(highest):
        place = folder / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grey(high, dtype)).save(place / f"{number:02d}.{ending}")


def brightest(splits):
    pixels = [image for part in splits.partitions.values() for image in part.images]
    return sorted(int(image.max()) for image in pixels)


SETS = {
    "12 bits, PNG": ([200, 300, *range(600, 4_000, 200), 4_095], np.uint16, "png", 4_095),
    "16 bits, PNG": ([4_000, 5_000, *range(6_000, 23_000, 1_000)], np.uint16, "png", 65_535),
    "16 bits, TIFF": ([200, 5_000, *range(6_000, 23_000, 1_000)], np.uint16, "tif", 65_535),
    "32 bits": ([200, 300, *range(600, 4_000, 200)], np.int32, "tif", 4_095),
    "floats to 255": ([1, *range(100, 255, 9)], np.float32, "tif", 255),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", SETS)
def test_one_scale_for_a_data_set(tmp_path, kind, packed):
    highest, dtype, ending, white = SETS[kind]
    camera(tmp_path / "set", highest, dtype, ending)
    place = tmp_path / "set"
    if packed:
        with tarfile.open(tmp_path / "set.tar", "w") as archive:
            archive.add(place, "set")
        place = tmp_path / "set.tar"
    splits = load_splits(f"imagefolder:{place}", size=8)
    wanted = [round(high * 255 / white) for high in sorted(highest)]
    assert np.abs(np.array(brightest(splits)) - wanted).max() <= 1
    said = [note for note in splits.notes if note.startswith("greys scaled from ")]
    assert len(said) == 1
    assert f": {len(highest)} (" in said[0]


def test_a_set_of_common_pictures_and_of_greys(tmp_path):
    """8-bit pictures have a scale of their own and keep it."""
    fill(tmp_path / "set", ["a", "b"])
    camera(tmp_path / "set", [200, 300], np.uint16, "tif")
    splits = load_splits(f"imagefolder:{tmp_path / 'set'}", size=8)
    assert brightest(splits)[:2] == [200 * 255 // 4_095, 300 * 255 // 4_095]
    assert brightest(splits)[2] > 240


def test_pictures_that_are_classified_together_are_scaled_alike(tmp_path):
    for high in (200, 300):
        Image.fromarray(grey(high, np.uint16)).save(tmp_path / f"{high}.png")
    paths = [tmp_path / "200.png", tmp_path / "300.png"]
    (dark, said), (bright, _) = read_images(paths, 8)
    assert (int(dark.max()), int(bright.max())) == (12, 18)
    assert said.endswith(
        "from 12 bits, greys scaled by the least that holds the values of all 2 images"
    )
    assert read_image(paths[1], 8)[0].equal(bright)
    alone, said = read_image(paths[0], 8)
    assert int(alone.max()) == 200
    assert said == "8x8 I;16 -> RGB from 8 bits, greys scaled by the least that holds its values"


def test_signed_bytes_are_refused_and_not_read_without_their_sign(tmp_path):
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[339] = (2,)
    shown = Image.fromarray(np.full((8, 8), -1, np.int8).view(np.uint8))
    shown.save(tmp_path / "a.tif", tiffinfo=info)
    with strict_about_size(), pytest.raises(NotAnImage, match="values from -1 to 0; scale"):
        decode((tmp_path / "a.tif").read_bytes(), 8)
    positive = Image.fromarray(np.full((8, 8), 100, np.uint8))
    positive.save(tmp_path / "b.tif", tiffinfo=info)
    with strict_about_size():
        assert decode((tmp_path / "b.tif").read_bytes(), 8).pixels.max() == 100
