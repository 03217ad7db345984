"""One published defence a file. `parse` turns "gaussian:level=0.1+dropout" into a `Stack`."""

from defenses.registry import DEFENSES
from defenses.spec import parse
from defenses.stack import Stack, protect

__all__ = ["DEFENSES", "Stack", "parse", "protect"]
