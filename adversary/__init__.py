"""The honest-but-curious side: what it is granted, what it does with a capture."""

from adversary.registry import ATTACKS

__all__ = ["ATTACKS"]
