"""The variant `skip`: how much of the identity each stage of a residual network keeps."""

from __future__ import annotations

import math
from collections.abc import Sequence

from splitlab.errors import BadInput


def stage_factors(skip: Sequence[float] | None, stages: int) -> tuple[float, ...]:
    """One factor a stage: 1 keeps the identity as published, 0 removes it.

    Args:
        skip: as given in `ArchSpec.variants`; None is 1 everywhere.
        stages: how many the network has.

    Raises:
        BadInput: another count, or something that is no finite number.
    """
    if skip is None:
        return (1.0,) * stages
    try:
        factors = tuple(float(value) for value in skip)
    except (TypeError, ValueError) as error:
        raise BadInput(f"variant skip={skip!r}: give {stages} numbers, one a stage") from error
    if len(factors) != stages or not all(math.isfinite(value) for value in factors):
        raise BadInput(f"variant skip={skip!r}: give {stages} finite numbers, one a stage")
    return factors
