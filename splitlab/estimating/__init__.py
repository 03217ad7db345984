"""What long work will take: measured on a sample, reckoned up, and told before it starts."""

from splitlab.estimating.lines import between, extended, on_a_line
from splitlab.estimating.meter import Bounded, Clock, Meter, Took
from splitlab.estimating.told import Forecast, Stage, memory_now

__all__ = [
    "Bounded",
    "Clock",
    "Forecast",
    "Meter",
    "Stage",
    "Took",
    "between",
    "extended",
    "memory_now",
    "on_a_line",
]
