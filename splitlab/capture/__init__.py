"""What a tap wrote to disk: the frames of a wire, in arrival order, whole or reported damaged."""

from splitlab.capture.exchanges import Exchange
from splitlab.capture.reader import Capture
from splitlab.capture.shards import Frame, FrameDirection, Vantage
from splitlab.capture.writer import CaptureWriter, TapStats, check_tap

__all__ = [
    "Capture",
    "CaptureWriter",
    "Exchange",
    "Frame",
    "FrameDirection",
    "TapStats",
    "Vantage",
    "check_tap",
]
