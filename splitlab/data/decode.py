"""One file of pixels -> one square RGB image, and in words what was done to it."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from splitlab.errors import BadInput

READABLE = ("PNG", "JPEG")
"""What `infer` accepts; a folder of images may also hold those of `IN_FOLDERS`."""
IN_FOLDERS = (*READABLE, "BMP", "GIF", "PPM", "TIFF", "WEBP")


class NotAnImage(Exception):
    """Bytes that cannot be decoded; the message says why, the caller knows the file's name."""


def read_image(path: Path | str, size: int) -> tuple[Tensor, str]:
    """Read a PNG or JPEG of any size and mode.

    Args:
        path: the file.
        size: side of the result in pixels.

    Returns:
        uint8 [3, size, size], and what was done: "640x480 RGBA -> RGB over white, centre crop
        480x480, resized to 32x32".

    Raises:
        BadInput: no such file, not a PNG or JPEG, damaged, or too many pixels to be an image.
    """
    path = Path(path)
    try:
        with strict_about_size():
            pixels, done = decode(path.read_bytes(), size, READABLE)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); give a PNG or JPEG") from error
    except NotAnImage as error:
        raise BadInput(f"{path}: not an image ({error}); give a PNG or JPEG") from error
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy()), done


@contextmanager
def strict_about_size() -> Iterator[None]:
    """Inside, Pillow's warning of too many pixels is an error. Enter in one thread, not in many."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", message="Palette images with Transparency")
        yield


def decode(
    data: bytes | BinaryIO, size: int, formats: tuple[str, ...] = IN_FOLDERS
) -> tuple[NDArray[np.uint8], str]:
    """Bytes of an image file -> uint8 [size, size, 3], and what was done.

    Call inside `strict_about_size`, which is not part of this as filters are shared by threads.

    Raises:
        NotAnImage: unknown format, damaged, or more pixels than Pillow takes for harmless.
    """
    stream = io.BytesIO(data) if isinstance(data, bytes) else data
    try:
        with Image.open(stream, formats=formats) as image:
            image.load()
            return to_square(image, size)
    except UnidentifiedImageError as error:
        raise NotAnImage(f"neither of {', '.join(formats)}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise NotAnImage("more pixels than an image should have") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise NotAnImage(f"damaged: {error}") from error


def to_square(image: Image.Image, size: int) -> tuple[NDArray[np.uint8], str]:
    """Turn upright, make RGB, crop the central square, resize (bicubic, antialiased)."""
    steps = [f"{image.width}x{image.height} {image.mode}"]
    upright = ImageOps.exif_transpose(image)
    if upright.size != image.size or image.getexif().get(0x0112, 1) != 1:
        steps[0] += " turned upright"
    colours, how = _to_rgb(upright)
    steps[0] += how
    side = min(colours.size)
    if colours.width != colours.height:
        left, top = (colours.width - side) // 2, (colours.height - side) // 2
        colours = colours.crop((left, top, left + side, top + side))
        steps.append(f"centre crop {side}x{side}")
    if side != size:
        colours = colours.resize((size, size), Image.Resampling.BICUBIC)
        steps.append(f"resized to {size}x{size}")
    return np.asarray(colours, dtype=np.uint8), ", ".join(steps)


def _to_rgb(image: Image.Image) -> tuple[Image.Image, str]:
    """RGB of any mode: transparency over white, 16-bit greys by their upper byte."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image, ""
    if image.mode.startswith("I"):
        upper = np.asarray(image).astype(np.int64).clip(0, 65_535) // 257
        return Image.fromarray(upper.astype(np.uint8)).convert("RGB"), " -> RGB from 16 bits"
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        clear = image.convert("RGBA")
        white = Image.new("RGBA", clear.size, "white")
        return Image.alpha_composite(white, clear).convert("RGB"), " -> RGB over white"
    return image.convert("RGB"), " -> RGB"
