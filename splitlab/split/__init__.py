"""Where a network can be cut, and the parts it is cut into."""

from splitlab.split.heads import head_modules
from splitlab.split.listing import split_points
from splitlab.split.parts import Part, Parts, cut, load_part_state, part_state
from splitlab.split.points import Granularity, SplitPoint, SplitPoints, find_point, spread
from splitlab.split.widen import widen

__all__ = [
    "Granularity",
    "Part",
    "Parts",
    "SplitPoint",
    "SplitPoints",
    "cut",
    "find_point",
    "head_modules",
    "load_part_state",
    "part_state",
    "split_points",
    "spread",
    "widen",
]
