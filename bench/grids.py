"""Victims beside their reconstructions, as small PNG files and as data inside the report."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from splitlab.storage import write_bytes

COLUMNS = 8
GAP = 2  # white pixels between the rows


def grid_png(truth: Tensor, reconstruction: Tensor) -> bytes:
    """Two rows, victims above and reconstructions below, at most eight columns, unscaled.

    Args:
        truth, reconstruction: [n, 3, S, S] in [0, 1], n >= 1.
    """
    rows = [images[:COLUMNS].clamp(0, 1) for images in (truth, reconstruction)]
    strips = [torch.cat(list(row), dim=2) for row in rows]
    gap = torch.ones(3, GAP, strips[0].shape[2])
    pixels = torch.cat([strips[0], gap, strips[1]], dim=1).mul(255).round().to(torch.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def save_grid(path: Path, truth: Tensor, reconstruction: Tensor) -> None:
    """Write the grid of one point, atomically."""
    write_bytes(path, grid_png(truth, reconstruction))


def data_uri(path: Path) -> str | None:
    """The file as a `data:` address for a page without a network; None where it is absent."""
    return _address(path.read_bytes()) if path.is_file() else None


def strips(path: Path, columns: int = COLUMNS) -> tuple[str, str] | None:
    """The first `columns` victims of a saved grid, and their reconstructions, as `data:` addresses.

    None where the file is absent.
    """
    if not path.is_file():
        return None
    with Image.open(path) as grid:
        side = (grid.height - GAP) // 2
        width = min(grid.width, columns * side)
        boxes = ((0, 0, width, side), (0, side + GAP, width, grid.height))
        found = []
        for box in boxes:
            buffer = io.BytesIO()
            grid.crop(box).save(buffer, "PNG", optimize=True)
            found.append(_address(buffer.getvalue()))
    return found[0], found[1]


def _address(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
