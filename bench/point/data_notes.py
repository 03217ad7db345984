"""What is known of a run's images: how many, which classes, what was left out and adapted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from splitlab.console import errors
from splitlab.data import Splits
from splitlab.errors import SplitLabError
from splitlab.metrics import METRICS
from splitlab.record import Record
from splitlab.storage import read_json, write_json

NAME = "data.json"


def facts(splits: Splits, adapted: Sequence[str] = ()) -> dict[str, Any]:
    """Counts, classes and notes; the path of the data is not among them."""
    return {
        "format": "splitlab/data/1",
        "dataset": splits.name,
        "hash": splits.hash,
        "classes": len(splits.classes),
        "images": {name: len(part) for name, part in splits.partitions.items()},
        "notes": [*splits.notes, *adapted],
    }


def keep(
    folder: Path, splits: Splits, adapted: Sequence[str] = (), *, private: bool = False
) -> None:
    """Write them as `data.json` into a run's folder, for its owner's eyes where it is private."""
    write_json(folder / NAME, facts(splits, adapted), private=private)


def kept(folder: Path) -> dict[str, Any] | None:
    """What `keep` wrote; None where nothing was, as in runs of older versions."""
    try:
        found = read_json(folder / NAME)
    except SplitLabError:
        return None
    return found if isinstance(found, dict) and "notes" in found else None


def lacking(records: Iterable[Record | None], lpips_weights: Path | None) -> tuple[str, ...]:
    """That finished records have no number where weights that are given now would give one.

    A record is never written again, and so they are no part of what a point is.
    """
    if lpips_weights is None:
        return ()
    names = [name for name in METRICS if METRICS.load(name).needs == ("lpips_weights",)]
    count = sum(
        any((told := one.leakage.get(name)) is not None and told.mean is None for name in names)
        for one in records
        if one is not None
    )
    if not count:
        return ()
    return (
        f"{count} finished records were made without all of LPIPS's weights and stay as they are; "
        "with --lpips-weights choose another --out to have its columns",
    )


def show(notes: Sequence[str]) -> None:
    """One line each on stderr, so that what a command prints stays what it is."""
    for note in notes:
        errors.print(f"data: {note}", style="yellow", markup=False)
