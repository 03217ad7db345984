"""One published defence a file. `parse` turns "gaussian:level=0.1+dropout" into a `Stack`."""

from defenses.parts.spec import parse, parse_file
from defenses.parts.stack import Stack, protect
from defenses.registry import DEFENSES

__all__ = ["DEFENSES", "Stack", "parse", "parse_file", "protect"]
