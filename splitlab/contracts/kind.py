"""What an attack estimates: where its truth is, what scores it, what it must beat, how it looks.

Metrics, floor, view and sight live above this room and are named as "module:attribute", loaded on
use.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from splitlab.contracts.arch import InputSpec
from splitlab.contracts.metric import Context, Metric
from splitlab.contracts.registry import load_attribute

TruthOf = Callable[[Any, Context], Tensor]
CheckOf = Callable[[Tensor, int, InputSpec | None], str]
FloorOf = Callable[[Any], Tensor]
View = Callable[[Path, Any, Any], None]


@dataclass(frozen=True)
class Kind:
    """One kind of estimate.

    Args:
        name: in records.
        truth: (items [N], context) -> what is true of each, [N, ...].
        check: (values, rows, the client's input) -> what is wrong with an answer to so many rows,
            "" where nothing is.
        metrics: that score it, in the order of a record; the first one with a margin says whether
            an attack failed.
        floor: what the adversary has of its own -> the answer that needs nothing seen, of one item
            or of each.
        floor_is: that answer in words.
        floor_brief: the same where there is little room; "" for the same words.
        view: (path, truth, values) -> a picture of both, as the sight shows them, is written there;
            "" for none, where only an experiment's page can show what was estimated.
        view_is: what it shows, in sentences; "" for an estimate beside its truth.
        suffix: of that picture's file.
        sight: what shows it at a point, with its truth; "" for that of what an attack sees.
        needs: what the context of its truth has to say, such as who is a member.
    """

    name: str
    truth: TruthOf
    check: CheckOf
    metrics: tuple[str, ...]
    floor: str
    floor_is: str
    view: str = ""
    view_is: str = ""
    suffix: str = ".png"
    sight: str = ""
    floor_brief: str = ""
    needs: tuple[str, ...] = ()

    def load_metrics(self) -> tuple[Metric, ...]:
        """The metrics, in order."""
        return tuple(load_attribute(one) for one in self.metrics)

    @property
    def headline(self) -> Metric:
        """The metric that says whether an attack failed.

        Raises:
            ValueError: none of them has a margin.
        """
        for metric in self.load_metrics():
            if metric.margin is not None:
                return metric
        raise ValueError(f"kind {self.name}: no metric says by how much a floor has to be beaten")

    def floor_of(self, own: Any) -> Tensor:
        """The floor's answer, [*item] or [n, *item]."""
        floor: FloorOf = load_attribute(self.floor)
        return floor(own)

    def picture(self, folder: Path, point: str, truth: Any, values: Any) -> str | None:
        """Write the picture of one point into `folder`: its file's name, None for no picture."""
        if not self.view:
            return None
        view: View = load_attribute(self.view)
        view(folder / f"{point}{self.suffix}", truth, values)
        return f"{point}{self.suffix}"
