"""One file of pixels -> one square RGB image, and in words what was done to it."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from splitlab.data.pictures.colours import GreyScale, Whites, greatest, has_signed_bytes, to_rgb
from splitlab.data.pictures.libtiff import silent_libtiff
from splitlab.data.pictures.not_an_image import NotAnImage
from splitlab.data.pictures.upright import BROKEN, PARTLY, load
from splitlab.data.pictures.without_exif import without_exif
from splitlab.errors import BadInput

READABLE = ("PNG", "JPEG")
"""What `infer` accepts; a folder of images may also hold those of `IN_FOLDERS`."""
IN_FOLDERS = (*READABLE, "AVIF", "BMP", "GIF", "JPEG2000", "PPM", "TGA", "TIFF", "WEBP")
MAGIC = {
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"RIFF": "WEBP",
    b"\0\0\0\x0cjP  ": "JPEG2000",
    b"\xff\x4f\xff\x51": "JPEG2000",
}
"""First bytes of what Pillow may know and yet not read, e.g. a TIFF of 32-bit colours."""

# Pillow logs what it cannot read, and Python writes to stderr what nobody handles.
logging.getLogger("PIL").addHandler(logging.NullHandler())


class Decoded(NamedTuple):
    """One image.

    Args:
        pixels: uint8 [size, size, 3].
        done: what was done, in words.
        remarks: what a reader of a whole data set should know, e.g. "the first frame alone".
        scale: what greys of more than 8 bits were scaled by.
    """

    pixels: NDArray[np.uint8]
    done: str
    remarks: tuple[str, ...]
    scale: GreyScale | None = None


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
    ((pixels, done),) = read_images([path], size)
    return pixels, done


def read_images(paths: Sequence[Path | str], size: int) -> list[tuple[Tensor, str]]:
    """`read_image` of each; greys of more than 8 bits are scaled alike in all of them.

    Raises:
        BadInput: as `read_image` does, of the first that is no image.
    """
    with strict_about_size():
        read = [_read(Path(path), size, None) for path in paths]
        whites = greatest(found.scale for found in read)
        for number, found in enumerate(read):
            if found.scale is not None and found.scale.white < whites[found.scale.kind]:
                read[number] = _read(Path(paths[number]), size, whites)
    among = "its values" if len(read) == 1 else f"the values of all {len(read)} images"
    return [
        (
            torch.from_numpy(found.pixels.transpose(2, 0, 1).copy()),
            f"{found.done}, greys scaled by the least that holds {among}"
            if found.scale is not None
            else found.done,
        )
        for found in read
    ]


def _read(path: Path, size: int, whites: Whites | None) -> Decoded:
    try:
        return decode(path.read_bytes(), size, READABLE, whites)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); give a PNG or JPEG") from error
    except NotAnImage as error:
        raise BadInput(f"{path}: not an image ({error}); give a PNG or JPEG") from error


@contextmanager
def strict_about_size() -> Iterator[None]:
    """Inside, Pillow's warning of too many pixels is an error, and its others are not shown, nor
    those of its libtiff.

    What they warn of (EXIF, palettes, metadata of a TIFF) does not change the pixels. Enter in one
    thread, not in many.
    """
    with silent_libtiff(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def decode(
    data: bytes,
    size: int,
    formats: tuple[str, ...] = IN_FOLDERS,
    whites: Whites | None = None,
) -> Decoded:
    """Bytes of an image file -> uint8 [size, size, 3], and what was done.

    Greys of more than 8 bits are scaled by what holds them, or by `whites` where that is more.

    Call inside `strict_about_size`, which is not part of this as filters are shared by threads.

    Raises:
        NotAnImage: unknown format, damaged, of numbers without a known range, or more pixels than
            Pillow takes for harmless.
    """
    try:
        return _decode(data, size, formats, whites)
    except NotAnImage:
        bare = without_exif(data)
        if len(bare) == len(data):
            raise
    found = _decode(bare, size, formats, whites)
    done = f"{found.done}, its EXIF cannot be read"
    return found._replace(done=done, remarks=(BROKEN, *found.remarks))


def _decode(data: bytes, size: int, formats: tuple[str, ...], whites: Whites | None) -> Decoded:
    try:
        with Image.open(io.BytesIO(data), formats=_supported(formats)) as image:
            return to_square(image, size, whites)
    except UnidentifiedImageError as error:
        raise NotAnImage(_unread(data[:64], formats)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        most = f"{Image.MAX_IMAGE_PIXELS:,}"
        raise NotAnImage(
            f"more pixels than an image should have, at most {most} are read; scale it down"
        ) from error
    except (NotAnImage, MemoryError):
        raise
    except Exception as error:  # by the kind of damage Pillow raises nearly everything
        told = str(error) or type(error).__name__
        raise NotAnImage(f"damaged: {told.splitlines()[0]}") from error


def _unread(first: bytes, formats: tuple[str, ...]) -> str:
    """Why nothing opens it: another format, or one of these of a kind that is not read."""
    kind = next((name for magic, name in MAGIC.items() if first.startswith(magic)), None)
    if first[4:12] in (b"ftypavif", b"ftypavis"):
        kind = "AVIF"
    if not first:
        return "it is empty"
    if kind in formats:
        return f"a {kind} that is damaged or of a kind that is not read; save it as 8-bit PNG"
    if first.startswith(b"version https://git-lfs"):
        return "a git-lfs pointer, not the file itself; fetch it with `git lfs pull`"
    return f"neither of {', '.join(formats)}"


@cache
def _supported(formats: tuple[str, ...]) -> tuple[str, ...]:
    """Those that this Pillow was built with."""
    Image.init()
    return tuple(name for name in formats if name in Image.OPEN)


def to_square(image: Image.Image, size: int, whites: Whites | None = None) -> Decoded:
    """Turn upright, make RGB, crop the central square, resize (bicubic, antialiased)."""
    frames = _frames(image)
    mode, width, height = image.mode, image.width, image.height
    upright, turned, broken = load(image)
    steps = [f"{width}x{height} {mode}"]
    remarks = [PARTLY if turned else BROKEN] if broken else []
    if frames > 1:
        steps[0] += f" first of {frames} frames"
        remarks.append("several frames or pages (the first alone is used)")
    if turned:
        steps[0] += " turned upright"
    colours, how, scale = to_rgb(upright, whites, has_signed_bytes(image))
    steps[0] += how
    if scale is not None:
        remarks.append(f"greys scaled from {scale}")
    side = min(colours.size)
    if colours.width != colours.height:
        left, top = (colours.width - side) // 2, (colours.height - side) // 2
        colours = colours.crop((left, top, left + side, top + side))
        steps.append(f"centre crop {side}x{side}")
    if side != size:
        colours = colours.resize((size, size), Image.Resampling.BICUBIC)
        steps.append(f"resized to {size}x{size}")
    if broken:
        steps.append(f"{'some of ' if turned else ''}its EXIF cannot be read")
    pixels = np.asarray(colours, dtype=np.uint8)
    return Decoded(pixels, ", ".join(steps), tuple(remarks), scale)


def _frames(image: Image.Image) -> int:
    """Frames of an animation, pages of a TIFF; a phone's JPEG with a preview behind it has one."""
    if image.format in ("JPEG", "MPO"):
        return 1
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # damage behind the first frame
        return 1
