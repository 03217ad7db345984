"""Pixels of any mode -> 8-bit RGB, scaled by a range that is known, or refused with its values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from splitlab.data.pictures.not_an_image import NotAnImage

DEPTHS = (8, 12, 16)
"""Bits that greys are stored with; the smallest that holds all values is the scale."""
UNIT_SLACK = 1e-3
"""How far floats in [0, 1] may lie outside, as resampling leaves them."""
ALPHA = frozenset({"RGBA", "LA", "PA", "La", "RGBa"})
SAMPLE_FORMAT, SIGNED = 339, 2
"""The tag of a TIFF that says how its samples are meant."""
GreyKind = Literal["integers", "floats"]
Whites = Mapping[GreyKind, int]
"""Kind of greys -> the value that becomes white, where it is larger than a picture's own."""


class GreyScale(NamedTuple):
    """What greys were scaled by: `white` is 1, 255, 4095 or 65535."""

    kind: GreyKind
    white: int

    def __str__(self) -> str:
        if self.kind == "integers":
            return f"{self.white.bit_length()} bits"
        return "floats in [0, 1]" if self.white == 1 else f"floats in 0 to {self.white}"


def greatest(scales: Iterable[GreyScale | None]) -> dict[GreyKind, int]:
    """What pictures of one set are scaled by, so that one brightness is one grey in all of them."""
    found: dict[GreyKind, int] = {}
    for scale in scales:
        if scale is not None:
            found[scale.kind] = max(scale.white, found.get(scale.kind, 0))
    return found


class Colours(NamedTuple):
    """An RGB picture, and how it was made in a few words; "" where nothing was done."""

    image: Image.Image
    how: str
    scale: GreyScale | None = None


def to_rgb(image: Image.Image, whites: Whites | None = None, signed: bool = False) -> Colours:
    """RGB of any mode: transparency over white, integers and floats of a known range by that range.

    Args:
        image: loaded.
        whites: what the pictures beside this one need; all are scaled alike then.
        signed: its bytes have a sign that Pillow does not see.

    Raises:
        NotAnImage: numbers that are signed, not finite or of no known range, or colours that
            Pillow does not turn into RGB.
    """
    if signed:
        _require_positive(np.asarray(image).view(np.int8))
    if image.mode == "RGB" and "transparency" not in image.info:
        return Colours(image, "")
    if image.mode == "F" or image.mode.startswith("I"):
        values = np.asarray(image).astype(np.float64)
        scale = _scale(values, "floats" if image.mode == "F" else "integers")
        scale = GreyScale(scale.kind, max(scale.white, (whites or {}).get(scale.kind, 0)))
        grey = Image.fromarray(_bytes(values, scale)).convert("RGB")
        return Colours(grey, f" -> RGB from {scale}", scale)
    if image.mode in ALPHA or "transparency" in image.info:
        clear = image.convert("RGBA")
        white = Image.new("RGBA", clear.size, "white")
        return Colours(Image.alpha_composite(white, clear).convert("RGB"), " -> RGB over white")
    try:
        return Colours(image.convert("RGB"), " -> RGB")
    except ValueError as error:
        raise NotAnImage(f"colours of mode {image.mode}; save it as RGB") from error


def has_signed_bytes(image: Image.Image) -> bool:
    """A TIFF of 8-bit samples with a sign; Pillow reads them without, so that -1 is white."""
    if not isinstance(image, TiffImageFile) or image.mode not in ("L", "LA", "RGB", "RGBA"):
        return False
    return SIGNED in image.tag_v2.get(SAMPLE_FORMAT, ())


def _require_positive(values: NDArray[np.int8]) -> None:
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    if low < 0:
        told = f"values from {low} to {high}"
        raise NotAnImage(f"{told}; scale them to 0 to 255, or floats to [0, 1]")


def _scale(values: NDArray[np.float64], kind: GreyKind) -> GreyScale:
    """The smallest known range that holds these greys."""
    if not np.isfinite(values).all():
        raise NotAnImage("values that are not finite (NaN or infinity); replace them")
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    told = f"values from {low:g} to {high:g}"
    if kind == "floats" and low >= -UNIT_SLACK and high <= 1 + UNIT_SLACK:
        return GreyScale(kind, 1)
    if low < 0:
        raise NotAnImage(f"{told}; scale them to 0 to 255, or floats to [0, 1]")
    if kind == "floats" and high < 16:
        raise NotAnImage(f"{told} are neither in [0, 1] nor in 0 to 255; scale them to [0, 1]")
    for bits in DEPTHS:
        if high <= 2**bits - 1:
            return GreyScale(kind, 2**bits - 1)
    raise NotAnImage(f"{told} have no known scale; save it with 8 or 16 bits")


def _bytes(values: NDArray[np.float64], scale: GreyScale) -> NDArray[np.uint8]:
    scaled = values * 255 / scale.white
    if scale.kind == "integers":
        scaled = np.floor(scaled)  # the upper byte of 16 bits, as everyone reads them: 257 * k -> k
    return scaled.round().clip(0, 255).astype(np.uint8)
