"""Make README's picture anew from the records of the default sweep.

    python scripts/readme_picture.py

Three rows of eight crops, each pixel three wide: the victims, and what the decoder makes of them
behind two split points. The rows are taken from the pictures that the records keep.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
RUN = ROOT / "results" / "photo-patches-resnet20"
OUT = ROOT / "docs" / "pictures" / "leakage.png"
SPLITS = ("layer2.1", "avgpool")
ATTACK = "decoder"
SCALE = 3
GAP = 2


def rows(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Victims and reconstructions of one split point, uint8 [side, 8 side, 3] each.

    Raises:
        LookupError: no record of it.
    """
    for path in sorted((RUN / "records").glob("*.json")):
        record = json.loads(path.read_text())
        if (record["split"]["name"], record["config"]["attack"]) == (split, ATTACK):
            with Image.open(RUN / "images" / record["images"]) as picture:
                pixels = np.asarray(picture.convert("RGB"))
            side = (len(pixels) - GAP) // 2
            return pixels[:side], pixels[side + GAP :]
    raise LookupError(f"{RUN} has no record of {ATTACK} at {split}")


def picture() -> np.ndarray:
    """uint8 [height, width, 3]."""
    found = [rows(split) for split in SPLITS]
    lines = [found[0][0], *(reconstructed for _, reconstructed in found)]
    white = np.full((GAP, lines[0].shape[1], 3), 255, np.uint8)
    stacked = np.concatenate([part for line in lines for part in (white, line)][1:])
    return stacked.repeat(SCALE, 0).repeat(SCALE, 1)


if __name__ == "__main__":
    OUT.parent.mkdir(exist_ok=True)
    Image.fromarray(picture()).save(OUT, optimize=True)
