"""Victims beside their reconstructions, as small PNG files and as data inside the report."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from splitlab.storage import write_bytes

COLUMNS = 8
GAP = 2  # white pixels between the rows


def rows_png(rows: Sequence[Tensor]) -> bytes:
    """The first `COLUMNS` images of each row, unscaled, with a white line between the rows.

    Args:
        rows: [n, 3, S, S] in [0, 1] each, as many in all, n >= 1.
    """
    lines = torch.stack([make_grid(row[:COLUMNS].clamp(0, 1), COLUMNS, 0) for row in rows])
    framed = make_grid(lines, 1, GAP, pad_value=1.0)  # of one line, that line
    grid = framed[:, GAP:-GAP, GAP:-GAP] if len(lines) > 1 else framed
    pixels = grid.mul(255).round().to(torch.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def save_grid(path: Path, truth: Tensor, reconstruction: Tensor) -> None:
    """Write the grid of one point, victims above and reconstructions below, atomically."""
    write_bytes(path, rows_png([truth, reconstruction]))


def data_uri(path: Path) -> str | None:
    """The file as a `data:` address for a page without a network; None where it is absent."""
    kind = "svg+xml" if path.suffix == ".svg" else "png"
    return _address(path.read_bytes(), kind) if path.is_file() else None


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


def _address(picture: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64," + base64.b64encode(picture).decode()
