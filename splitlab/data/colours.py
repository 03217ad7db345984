"""Pixels of any mode -> 8-bit RGB, scaled by a range that is known, or refused with its values."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from splitlab.data.not_an_image import NotAnImage

DEPTHS = (8, 12, 16)
"""Bits that greys are stored with; the smallest that holds all values is the scale."""
UNIT_SLACK = 1e-3
"""How far floats in [0, 1] may lie outside, as resampling leaves them."""
ALPHA = frozenset({"RGBA", "LA", "PA", "La", "RGBa"})


class Colours(NamedTuple):
    """An RGB picture, and how it was made in a few words; "" where nothing was done."""

    image: Image.Image
    how: str


def to_rgb(image: Image.Image) -> Colours:
    """RGB of any mode: transparency over white, integers and floats of a known range by that range.

    Raises:
        NotAnImage: numbers that are signed, not finite or of no known range, or colours that
            Pillow does not turn into RGB.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return Colours(image, "")
    if image.mode == "F" or image.mode.startswith("I"):
        grey, source = _scaled(np.asarray(image).astype(np.float64), image.mode == "F")
        return Colours(Image.fromarray(grey).convert("RGB"), f" -> RGB from {source}")
    if image.mode in ALPHA or "transparency" in image.info:
        clear = image.convert("RGBA")
        white = Image.new("RGBA", clear.size, "white")
        return Colours(Image.alpha_composite(white, clear).convert("RGB"), " -> RGB over white")
    try:
        return Colours(image.convert("RGB"), " -> RGB")
    except ValueError as error:
        raise NotAnImage(f"colours of mode {image.mode}; save it as RGB") from error


def _scaled(values: NDArray[np.float64], floats: bool) -> tuple[NDArray[np.uint8], str]:
    """Greys -> uint8, and from what: "16 bits", "floats in [0, 1]"."""
    if not np.isfinite(values).all():
        raise NotAnImage("values that are not finite (NaN or infinity); replace them")
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    told = f"values from {low:g} to {high:g}"
    if floats and low >= -UNIT_SLACK and high <= 1 + UNIT_SLACK:
        return _bytes(values * 255), "floats in [0, 1]"
    if low < 0:
        raise NotAnImage(f"{told}; scale them to 0 to 255, or floats to [0, 1]")
    if floats and high < 16:
        raise NotAnImage(f"{told} are neither in [0, 1] nor in 0 to 255; scale them to [0, 1]")
    for bits in DEPTHS:
        most = 2**bits - 1
        if high <= most:
            # The upper byte of 16 bits, as everyone reads them: 257 * k -> k.
            scaled = values * 255 / most if floats else np.floor(values * 255 / most)
            return _bytes(scaled), f"floats in 0 to {most}" if floats else f"{bits} bits"
    raise NotAnImage(f"{told} have no known scale; save it with 8 or 16 bits")


def _bytes(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return values.round().clip(0, 255).astype(np.uint8)
