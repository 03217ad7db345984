"""What an attack on a point is shown, made together with what is true of it."""

from bench.point.sights.base import Facts, Sight, Truth, sight_of

__all__ = ["Facts", "Sight", "Truth", "sight_of"]
