"""Where points are measured, and what many of them share."""

from bench.point.lab.base import Sources, loaded
from bench.point.lab.lab import Lab

__all__ = ["Lab", "Sources", "loaded"]
