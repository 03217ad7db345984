"""`photo-patches`: 32x32 crops of the photographs inside scikit-image's wheel.

The label is the photograph. Each photograph is cut across its longer side into four bands with gaps
between them, one for each partition, so that no pixel serves two partitions. Real natural images,
deterministic, no download.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from splitlab.data.image_set import ImageSet
from splitlab.data.options import LoadOptions
from splitlab.data.splits import PARTITIONS, Splits
from splitlab.errors import BadInput, Corrupt
from splitlab.randomness import generator

PHOTOGRAPHS = {
    "astronaut": "astronaut.png",
    "chelsea": "chelsea.png",
    "coffee": "coffee.png",
    "rocket": "rocket.jpg",
    "retina": "retina.jpg",
    "immunohistochemistry": "ihc.png",
    "hubble_deep_field": "hubble_deep_field.jpg",
    "stereo_motorcycle": "motorcycle_left.png",
    "brick": "brick.png",
    "grass": "grass.png",
}
SIDES = (32, 48, 64)
"""Sides of the crops in pixels of the photograph."""
SHARES = {"train": 0.36, "auxiliary": 0.24, "validation": 0.16, "victims": 0.24}
"""Bands in their order along the longer side, each with its share of what the gaps leave.

The narrowest band of the smallest photograph still fits a 64 px crop.
"""
COUNTS = {"train": 4_000, "auxiliary": 2_500, "validation": 500}
"""Crops of each partition, the same number from every photograph."""
VICTIMS_PER_PHOTOGRAPH = 40
GAP = 8
"""Pixels between two bands."""
FLAT = 4.0
"""Crops whose grey levels deviate by less than this (of 255) are near-constant and dropped."""


@dataclass(frozen=True)
class Band:
    """One partition's part of a photograph: rows y0..y1, columns x0..x1, ends exclusive."""

    y0: int
    x0: int
    y1: int
    x1: int


def bands(height: int, width: int) -> dict[str, Band]:
    """The four bands of a photograph, across its longer side, `GAP` pixels apart."""
    along = max(height, width)
    usable = along - GAP * (len(SHARES) - 1)
    found, start = {}, 0
    for name, share in SHARES.items():
        end = start + int(usable * share)
        found[name] = Band(0, start, height, end) if width >= height else Band(start, 0, end, width)
        start = end + GAP
    return found


def load(argument: str, options: LoadOptions) -> Splits:
    """All four partitions; `options.seed` draws the crops, the victims' grid is fixed."""
    if argument:
        raise BadInput(f"photo-patches takes no argument, got {argument!r}; write `photo-patches`")
    parts: dict[str, list[_Crops]] = {name: [] for name in PARTITIONS}
    for source, (name, file) in enumerate(PHOTOGRAPHS.items()):
        photograph = _read(file)
        grey = np.asarray(photograph.convert("L"))
        for part, band in bands(photograph.height, photograph.width).items():
            rng = _numpy_generator(options.seed, name, part)
            boxes = (
                _grid(grey, band, VICTIMS_PER_PHOTOGRAPH, rng)
                if part == "victims"
                else _random(grey, band, COUNTS[part] // len(PHOTOGRAPHS), rng)
            )
            parts[part].append(_Crops(source, boxes, _scaled(photograph, boxes, options.size)))
    sets = {name: _image_set(crops, f"photo-patches/{name}") for name, crops in parts.items()}
    return Splits.of(sets, "photo-patches")


@dataclass(frozen=True)
class _Crops:
    source: int
    boxes: NDArray[np.int32]  # [n, 4]: y0, x0, y1, x1
    pixels: NDArray[np.uint8]  # [n, S, S, 3]


def _read(file: str) -> Image.Image:
    """The photograph as RGB, straight from the wheel, so that nothing is ever downloaded."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise BadInput("photo-patches needs scikit-image; `pip install scikit-image`")
    path = Path(spec.submodule_search_locations[0]) / "data" / file
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except OSError as error:
        raise Corrupt(path, f"not readable ({error})", "install scikit-image again") from error


def _numpy_generator(seed: int, *labels: str) -> np.random.Generator:
    number = torch.randint(2**62, (), generator=generator(seed, "photo-patches", *labels))
    return np.random.default_rng(int(number))


def _flat(grey: NDArray[np.uint8], y: int, x: int, side: int) -> bool:
    return float(grey[y : y + side, x : x + side].std()) < FLAT


def _random(
    grey: NDArray[np.uint8], band: Band, count: int, rng: np.random.Generator
) -> NDArray[np.int32]:
    """`count` crops at uniform places, a third of each side; they may overlap one another."""
    boxes: list[tuple[int, int, int, int]] = []
    while len(boxes) < count:
        side = SIDES[len(boxes) % len(SIDES)]
        y = int(rng.integers(band.y0, band.y1 - side + 1))
        x = int(rng.integers(band.x0, band.x1 - side + 1))
        if not _flat(grey, y, x, side):
            boxes.append((y, x, y + side, x + side))
    return np.array(boxes, np.int32)


def _grid(
    grey: NDArray[np.uint8], band: Band, most: int, rng: np.random.Generator
) -> NDArray[np.int32]:
    """At most `most` non-overlapping tiles: rows of 64, 48 and 32 px tiles in turn."""
    boxes: list[tuple[int, int, int, int]] = []
    y, row = band.y0, 0
    while y + SIDES[0] <= band.y1:
        side = SIDES[-1 - row % len(SIDES)]
        if y + side <= band.y1:
            boxes += [
                (y, x, y + side, x + side)
                for x in range(band.x0, band.x1 - side + 1, side)
                if not _flat(grey, y, x, side)
            ]
            y += side
        row += 1
    kept = np.sort(rng.permutation(len(boxes))[:most])
    return np.array(boxes, np.int32)[kept]


def _scaled(photograph: Image.Image, boxes: NDArray[np.int32], size: int) -> NDArray[np.uint8]:
    crops = [
        photograph.crop((x0, y0, x1, y1)).resize((size, size), Image.Resampling.BICUBIC)
        for y0, x0, y1, x1 in boxes.tolist()
    ]
    return np.stack([np.asarray(crop) for crop in crops])


def _image_set(crops: list[_Crops], name: str) -> ImageSet:
    sources = np.concatenate([np.full(len(c.boxes), c.source, np.int64) for c in crops])
    boxes = np.concatenate([c.boxes for c in crops])
    pixels = np.concatenate([c.pixels for c in crops]).transpose(0, 3, 1, 2)
    return ImageSet(
        torch.from_numpy(np.ascontiguousarray(pixels)),
        torch.from_numpy(sources),
        tuple(PHOTOGRAPHS),
        torch.from_numpy(sources.copy()),
        torch.from_numpy(np.concatenate([sources[:, None], boxes], axis=1).astype(np.int32)),
        name,
    )
