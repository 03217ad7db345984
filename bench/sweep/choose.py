"""Which split points of a network a sweep takes."""

from __future__ import annotations

from collections.abc import Sequence

from bench.options import is_number, whole_number
from bench.point.recipe import SweepConfig
from splitlab.contracts import ArchSpec
from splitlab.errors import BadInput, UnknownName
from splitlab.models import Normalised
from splitlab.split import SplitPoint, find_point, split_points, spread


def choose(config: SweepConfig, net: Normalised, arch: ArchSpec) -> Sequence[SplitPoint]:
    """The split points that `--splits` names: a number of them, "all", or names with commas.

    Raises:
        UnknownName, NotCuttable: a name that is no split point.
        BadInput: a number below 1, no name, or none in front of the tail.
    """
    points = split_points(net, arch.input.shape, config.granularity)
    found = list(points)
    if config.tail_start is not None:
        end = find_point(points, config.tail_start)
        found = [p for p in found if p.index < end.index]
    if not found:
        raise BadInput(f"--tail-start {config.tail_start}: no split point lies in front of it")
    if config.splits == "all":
        return found
    if config.splits.isdigit():
        wanted = whole_number(config.splits)
        if not wanted:
            raise BadInput(
                f"--splits {config.splits}: at least one split point is wanted, and a number of at "
                "most nine digits"
            )
        return spread(found, wanted)
    names = [name.strip() for name in config.splits.split(",") if name.strip()]
    if not names:
        raise BadInput(f"--splits {config.splits!r} names none; give a number, 'all', or names")
    picked: dict[int, SplitPoint] = {}
    for name in names:
        try:
            point = find_point(points, name)
        except UnknownName as error:
            if is_number(name):
                raise BadInput(
                    f"--splits {config.splits}: how many split points must be a whole number above "
                    "0; give one, 'all', or names with commas"
                ) from error
            raise
        if point.index in picked:
            raise BadInput(
                f"--splits {config.splits}: {name!r} is given twice (the split point "
                f"{point.name!r}); name it once"
            )
        picked[point.index] = point
    return [picked[index] for index in sorted(picked)]
