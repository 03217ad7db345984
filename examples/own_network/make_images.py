"""`python make_images.py [FOLDER]`: a class folder for each photograph, cut into its tiles.

The photographs lie inside scikit-image's wheel; nothing is fetched. No two tiles overlap.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")
SIDE = 40
"""Pixels of a tile."""
MOST = 48
"""Tiles of a photograph."""
FLAT = 4.0
"""A tile whose grey levels deviate by less shows nothing."""


def main(folder: Path) -> None:
    for name in PHOTOGRAPHS:
        pixels = getattr(data, name)()[..., :3]
        rows, columns = pixels.shape[0] // SIDE, pixels.shape[1] // SIDE
        tiles = [
            pixels[y * SIDE : (y + 1) * SIDE, x * SIDE : (x + 1) * SIDE]
            for y in range(rows)
            for x in range(columns)
        ]
        tiles = [tile for tile in tiles if tile.std() >= FLAT]
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in np.linspace(0, len(tiles) - 1, min(MOST, len(tiles))).astype(int):
            Image.fromarray(tiles[number]).save(folder / name / f"{number:03}.png")
    print(f"{folder}: {len(list(folder.rglob('*.png')))} images of {len(PHOTOGRAPHS)} classes")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "photos"))
