"""What every measurement ends with: how it compares with its rival, and whether that will do."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch


def judged(
    row: Any, ratio: float, limit: float, *, sound: bool = True, **more: Any
) -> dict[str, Any]:
    """JSON: the fields of a measurement, `more` of it, and the verdict.

    Args:
        row: a dataclass, or its fields.
        ratio: to the rival, larger is better.
        limit: the least that will do.
        sound: whether what was measured is right at all.
    """
    verdict = {"ratio": ratio, "limit": limit, "ok": ratio >= limit and sound}
    fields = row if isinstance(row, dict) else asdict(row)
    return {**fields, **more, **verdict}


def wait(device: torch.device) -> None:
    """Until all that was asked of a device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
