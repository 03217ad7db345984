"""`infer`'s images: any size and mode, said in words; what is no image is refused by name."""

import numpy as np
import pytest
import torch
from PIL import Image

from splitlab.data import read_image
from splitlab.errors import BadInput


@pytest.fixture
def picture():
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8))


def test_an_image_of_the_right_size_is_left_as_it_is(tmp_path, picture):
    square = picture.crop((0, 0, 32, 32))
    square.save(tmp_path / "a.png")
    pixels, done = read_image(tmp_path / "a.png", 32)
    assert pixels.dtype == torch.uint8
    assert np.array_equal(pixels.numpy().transpose(1, 2, 0), np.asarray(square))
    assert done == "32x32 RGB"


def test_what_was_done_is_said(tmp_path, picture):
    picture.save(tmp_path / "a.jpg", quality=95)
    pixels, done = read_image(tmp_path / "a.jpg", 32)
    assert pixels.shape == (3, 32, 32)
    assert done == "64x48 RGB, centre crop 48x48, resized to 32x32"


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("L", "-> RGB"),
        ("1", "-> RGB"),
        ("P", "-> RGB"),
        ("RGBA", "-> RGB over white"),
        ("LA", "-> RGB over white"),
        ("I;16", "-> RGB from 16 bits"),
    ],
)
def test_every_mode_of_png(tmp_path, picture, mode, said):
    if mode == "I;16":
        grey = np.asarray(picture.convert("L")).astype(np.uint16) * 257
        Image.fromarray(grey).save(tmp_path / "a.png")
    else:
        picture.convert(mode).save(tmp_path / "a.png")
    pixels, done = read_image(tmp_path / "a.png", 48)
    assert said in done
    assert pixels.shape == (3, 48, 48)
    if mode in ("L", "I;16"):
        wanted = np.asarray(picture.convert("L").crop((8, 0, 56, 48)))
        assert np.array_equal(pixels[0].numpy(), wanted)


def test_cmyk_jpeg(tmp_path, picture):
    picture.convert("CMYK").save(tmp_path / "a.jpg")
    assert "CMYK -> RGB" in read_image(tmp_path / "a.jpg", 32)[1]


def test_transparency_shows_white(tmp_path):
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", 8)[0].unique().tolist() == [255]
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([0, 0, 255] + [0, 0, 0] * 255)
    palette.save(tmp_path / "p.png", transparency=0)
    assert read_image(tmp_path / "p.png", 8)[0].unique().tolist() == [255]


def test_a_turned_photograph_is_turned_upright(tmp_path, picture):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.png", exif=exif)
    pixels, done = read_image(tmp_path / "a.png", 48)
    assert "turned upright" in done
    upright = np.asarray(picture.transpose(Image.Transpose.ROTATE_270).crop((0, 8, 48, 56)))
    assert np.array_equal(pixels.numpy().transpose(1, 2, 0), upright)


def test_what_is_no_image_is_named(tmp_path, picture):
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.jpg").write_bytes(b"")
    picture.save(tmp_path / "whole.png")
    data = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "half.png").write_bytes(data[: len(data) // 2])
    picture.save(tmp_path / "film.gif")
    for name in ("text.png", "empty.jpg", "half.png", "film.gif"):
        with pytest.raises(BadInput, match=rf"{name}: not an image .*give a PNG or JPEG"):
            read_image(tmp_path / name, 32)
    for name in ("absent.png", "."):
        with pytest.raises(BadInput, match="cannot be read"):
            read_image(tmp_path / name, 32)


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path, monkeypatch, picture):
    picture.save(tmp_path / "a.png")
    for limit in (2_000, 1_000):  # twice over warns, more is an error in Pillow
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(BadInput, match="more pixels than an image should have"):
            read_image(tmp_path / "a.png", 32)
