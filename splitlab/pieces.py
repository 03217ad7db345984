"""A function of many rows, a piece at a time, so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def in_pieces(
    run: Callable[[Tensor], Tensor],
    rows: Tensor,
    size: int,
    device: torch.device | str | None = None,
) -> Tensor:
    """What `run` makes of `rows`, as one tensor on their device.

    Args:
        run: [n, ...] -> [n, ...], each row for itself.
        rows: [N, ...], N >= 1.
        size: rows of a piece, at most.
        device: where a piece is run; None for where the rows are.
    """
    pieces = (part if device is None else part.to(device) for part in rows.split(size))
    return torch.cat([run(part).to(rows.device) for part in pieces])
