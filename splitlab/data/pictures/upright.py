"""Which way up a picture was taken; a broken EXIF never costs the picture."""

from __future__ import annotations

from typing import Any

from PIL import ExifTags, Image
from PIL.TiffImagePlugin import TiffImageFile

METHODS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what turns the picture upright; 1 is upright already."""
BROKEN = "an EXIF that cannot be read (not turned)"
PARTLY = "metadata that cannot be read in part (turned upright all the same)"


def load(image: Image.Image) -> tuple[Image.Image, bool, bool]:
    """Decode the pixels and turn them upright.

    Pillow's own `exif_transpose` writes the rest of the EXIF anew, and fails where any field of it
    is broken. Only the orientation is read here.

    Returns:
        the picture, whether it was turned, and whether its EXIF is broken.

    Raises:
        what Pillow raises of pixels that cannot be decoded.
    """
    behind = _load_pixels(image)
    orientation, broken = _orientation(image)
    if orientation != 1:
        return image.transpose(METHODS[orientation]), True, broken or behind
    return image, False, broken or behind


def _load_pixels(image: Image.Image) -> bool:
    """Decode the pixels; returns whether what is written behind them is broken.

    A second `load` after a failed one is no way out: Pillow then hands over black pixels.
    """
    failed: list[Exception] = []
    read_on: Any = getattr(image, "load_end", None)

    def tolerant() -> None:
        try:
            read_on()
        except Exception as error:  # Pillow raises nearly everything here, by the kind of damage
            failed.append(error)

    # Only these two read metadata there; a TIFF would be turned by the whole of its EXIF too.
    if image.format == "PNG":
        image.__dict__["load_end"] = tolerant
    elif image.format == "TIFF":
        image.__dict__["load_end"] = lambda: None
    image.load()
    return bool(failed)


def _orientation(image: Image.Image) -> tuple[int, bool]:
    """1 to 8, and whether the EXIF is broken; what is broken counts as upright."""
    try:
        tags = image.tag_v2 if isinstance(image, TiffImageFile) else image.getexif()
        value = tags.get(ExifTags.Base.Orientation, 1)
    except Exception:  # Pillow raises nearly everything here, by the kind of damage
        return 1, True
    if value in METHODS:
        return int(value), False
    return 1, value not in (0, 1)  # 0 is written by cameras that do not know
