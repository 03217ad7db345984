"""One paper's experiments at one scale: what all of their declarations say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from bench.point.setup import Scale, Setup
from bench.reproduce.frame.experiment import Experiment, Line
from bench.reproduce.frame.request import Target
from bench.reproduce.frame.run import Framed

OWN = Target()
"""The scale's own network, where no other is named."""


@dataclass(frozen=True)
class Study:
    """To be derived from, a class a paper.

    Args:
        target: in place of the scale's own network and split point.
    """

    scale: Scale
    target: Target = field(default=OWN)

    PAPER: ClassVar[str]
    SOURCE: ClassVar[str]

    @property
    def setup(self) -> Setup:
        """Network, data and cut."""
        raise NotImplementedError

    def experiment(
        self, name: str, title: str, lines: Iterable[Line], **declared: Any
    ) -> Experiment:
        """
        Args:
            name: behind that of the paper, "table1".
            title: behind that of the paper, and of its source: ", Table 1".
            declared: the other fields of `Experiment`, in place of what all say.
        """
        common = {"source": self.SOURCE + title, "setup": self.setup, **declared}
        return Experiment(
            name=f"{self.PAPER.lower()}-{name}",
            title=self.PAPER + title,
            scale=self.scale,
            lines=tuple(lines),
            **common,
        )


S = TypeVar("S", bound=Study)


def declared(
    study: type[S], *, movable: bool = False
) -> Callable[[Callable[[S], Experiment]], Framed]:
    """Makes a function of a study an experiment that the registry may name.

    Args:
        movable: whether it takes another network and other split points.
    """

    def framed(declare: Callable[[S], Experiment]) -> Framed:
        def build(scale: Scale, target: Target = OWN) -> Experiment:
            return declare(study(scale, target))

        return Framed(build, build if movable else None)

    return framed
