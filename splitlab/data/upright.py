"""Which way up a picture was taken; a broken EXIF never costs the picture."""

from __future__ import annotations

from PIL import ExifTags, Image

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


def load(image: Image.Image) -> tuple[Image.Image, bool, bool]:
    """Decode the pixels and turn them upright.

    Pillow's own `exif_transpose` writes the rest of the EXIF anew, and fails where any field of it
    is broken. Only the orientation is read here. A TIFF is turned by Pillow while it is loaded.

    Returns:
        the picture, whether it was turned, and whether its EXIF is broken.

    Raises:
        what Pillow raises of pixels that cannot be decoded.
    """
    before, broken = _orientation(image) if image.format == "TIFF" else (1, False)
    try:
        image.load()
    except Exception:
        # The pixels may be there and only the EXIF behind them be broken; else this fails again.
        image.load()
        broken = True
    after, failed = _orientation(image)
    if after != 1:
        return image.transpose(METHODS[after]), True, False
    return image, before != 1 and not broken, broken or failed


def _orientation(image: Image.Image) -> tuple[int, bool]:
    """1 to 8, and whether the EXIF is broken; what is broken counts as upright."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # Pillow raises nearly everything here, by the kind of damage
        return 1, True
    if value in METHODS:
        return int(value), False
    return 1, value not in (0, 1)  # 0 is written by cameras that do not know
