"""Classify image files: what was seen in each, how sure, and what was done to the file before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from edge_client.client import EdgeClient, InferResult
from edge_client.half import UsedHalf
from splitlab.data import read_images


def classify(
    connect: Callable[[], tuple[UsedHalf, EdgeClient]], paths: Sequence[Path]
) -> tuple[list[dict[str, Any]], InferResult]:
    """One row a file, in order: image, class, probability, prepared.

    Args:
        connect: opens the client; closed again here.
        paths: PNG or JPEG files. All are read before anything is sent.

    Raises:
        BadInput: a file that is no image.
    """
    half, client = connect()
    with client:
        read = read_images(paths, half.input.size)
        result = client.infer(torch.stack([pixels for pixels, _ in read]).float() / 255)
    probabilities, best = torch.softmax(result.logits, dim=1).max(dim=1)
    rows = [
        {
            "image": str(path),
            "class": half.classes[index] if index < len(half.classes) else str(index),
            "probability": round(float(probability), 6),
            "prepared": prepared,
        }
        for path, (_, prepared), index, probability in zip(
            paths, read, best.tolist(), probabilities.tolist(), strict=True
        )
    ]
    return rows, result
