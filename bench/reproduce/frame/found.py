"""What came of an experiment: records by seed and measurement, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping

from bench.point.run import Skipped as Skipped
from splitlab.record import Record

Outcomes = Mapping[str, Record | Skipped]
"""Key of the measurement -> what came of it, in one seed."""
Found = Mapping[int, Outcomes]
"""By seed."""


def records_in(found: Found) -> list[Record]:
    """All records, seed by seed."""
    return [one for own in found.values() for one in own.values() if isinstance(one, Record)]
