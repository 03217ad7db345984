"""One file that continues a training run: whole or absent, and bound to the run it belongs to."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from splitlab.errors import Corrupt, Mismatch
from splitlab.storage import write_bytes

REMEDY = "delete it to train again from the start"


def save_checkpoint(path: Path, run: dict[str, Any], content: dict[str, Any]) -> None:
    """Write `content` for the run described by `run` (JSON values), atomically.

    Raises:
        StorageFull: no space left; the checkpoint of the epoch before is untouched.
    """
    buffer = io.BytesIO()
    torch.save({"run": run, "content": content}, buffer)
    write_bytes(path, buffer.getvalue(), private=True)  # it may hold the client's head


def load_checkpoint(path: Path, run: dict[str, Any]) -> dict[str, Any] | None:
    """What was saved for this very run, or None where there is no file. Never unpickles code.

    Raises:
        Corrupt: not a whole checkpoint.
        Mismatch: a checkpoint of another run; names what differs.
    """
    if not path.exists():
        return None
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        known, content = saved["run"], saved["content"]
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        first = str(error).strip().splitlines()[:1]
        raise Corrupt(path, f"not a whole checkpoint ({''.join(first)})", REMEDY) from error
    differing = sorted(k for k in {*known, *run} if known.get(k) != run.get(k))
    if differing:
        shown = "; ".join(f"{k}: {known.get(k)!r} there, {run.get(k)!r} here" for k in differing)
        raise Mismatch(f"{path} is the checkpoint of another training run ({shown}); {REMEDY}")
    return content
