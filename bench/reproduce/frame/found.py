"""What came of an experiment: records by seed and measurement, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from splitlab.record import Record


@dataclass(frozen=True)
class Skipped:
    """A measurement that could not be made, and why."""

    why: str


Outcomes = Mapping[str, Record | Skipped]
"""Key of the measurement -> what came of it, in one seed."""
Found = Mapping[int, Outcomes]
"""By seed."""


def records_in(found: Found) -> list[Record]:
    """All records, seed by seed."""
    return [one for own in found.values() for one in own.values() if isinstance(one, Record)]
