"""Classes to be inverted: nothing is seen but the grant, and private images of them are true."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.point.sights.base import Truth
from bench.point.sights.wire import OverTheWire
from splitlab.contracts import Seen, Targets
from splitlab.randomness import generator


class OfClasses(OverTheWire):
    """`attacked` targets, class after class again and again; one of each class where None.

    Items are the targets' classes; the context holds `private`, the images that the network has
    learned from, which no attack is granted, and the judge, which learned from the adversary's
    distribution and has seen none of these. Utility and rate are of the victims' images, over the
    wire.
    """

    SHOWS: tuple[type[Seen], ...] = (Targets,)
    TELLS = frozenset({"private"})
    JUDGE = "auxiliary"

    @classmethod
    def most(cls, victims: int, train: int) -> None:
        """Targets are no images that cross the wire; their classes come again and again."""
        del victims, train

    def seen(self) -> tuple[Targets]:
        ids = tuple(f"target/{row}" for row in range(len(self._classes)))
        return (Targets(ids, self._classes),)

    def truth(self) -> Truth:
        classes, private = self._classes, self._lab.data(self._config).train
        join = {f"target/{row}": row for row in range(len(classes))}
        return Truth(classes, classes, join, self._own(), {**self._context, "private": private})

    @property
    def _classes(self) -> Tensor:
        """int64 [n], in a public order."""
        known = len(self._lab.data(self._config).classes)
        count = self._config.attacked or known
        order = torch.randperm(count, generator=generator(self._config.seed, "targets"))
        return torch.arange(count)[order] % known
