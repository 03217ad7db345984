"""An estimate as data and in words."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from splitlab.answers import answer


@dataclass(frozen=True)
class Stage:
    """One kind of work of a command, and the seconds that all of it takes."""

    what: str
    seconds: float


@dataclass(frozen=True)
class Forecast:
    """Of what is to be done.

    Args:
        points: things to be done, in the unit of `of`.
        stages: everything that is counted.
        memory_bytes: of this process at its highest.
        not_counted: what else takes time, in words.
        of: what the points are.
        finished: points that are done, where nothing is left.
    """

    points: int
    stages: tuple[Stage, ...]
    memory_bytes: int
    not_counted: tuple[str, ...] = ()
    of: str = "points"
    finished: int = 0

    @classmethod
    def of_stages(
        cls,
        points: int,
        seconds: Mapping[str, float],
        memory_bytes: int,
        not_counted: Iterable[str] = (),
        of: str = "points",
    ) -> Forecast:
        """From what -> seconds; what takes none is left out."""
        stages = tuple(Stage(what, taken) for what, taken in seconds.items() if taken > 0)
        return cls(points, stages, memory_bytes, tuple(dict.fromkeys(not_counted)), of)

    @property
    def seconds(self) -> float:
        """Of everything that is counted."""
        return sum(stage.seconds for stage in self.stages)

    def told(self) -> str:
        """One line."""
        of = self.of.removesuffix("s") if 1 in (self.points, self.finished) else self.of
        if self.finished:
            count = "the" if self.finished == 1 else f"all {self.finished:,}"
            verb = "is" if self.finished == 1 else "are"
            return f"{count} {of} {verb} finished; only tables and the page are written"
        besides = f", not counting {', '.join(self.not_counted)}" if self.not_counted else ""
        memory = f"{self.memory_bytes / 2**30:z.1f} GiB"
        taken = in_words(self.seconds)
        return f"{self.points:,} {of}, about {taken}{besides}, about {memory} of memory"

    def show(self, console: Console, dry_run: bool = False, as_json: bool = False) -> None:
        """Print the line, before a dry run's end the table too, or with `--json` the document."""
        console.print(self.told(), soft_wrap=True, markup=False)
        if dry_run and as_json:
            answer(as_json, self.document())
        elif dry_run:
            console.print(self.table())

    def document(self) -> dict[str, Any]:
        """What the line and the table say, in seconds and bytes."""
        return {"format": "splitlab/forecast/1", **asdict(self), "seconds": self.seconds}

    def table(self) -> Table:
        """What takes how long, for a dry run."""
        drawn = Table(header_style="bold", pad_edge=False, box=None)
        drawn.add_column("what")
        drawn.add_column("seconds", justify="right")
        for stage in self.stages:
            drawn.add_row(stage.what, f"{stage.seconds:z,.0f}" if stage.seconds >= 1 else "< 1")
        for what in self.not_counted:
            drawn.add_row(what, "not counted")
        drawn.add_row("in all", f"{self.seconds:z,.0f}", style="bold")
        return drawn


def in_words(seconds: float) -> str:
    """Seconds below two minutes, then minutes, hours from two on, days from two on."""
    for unit, size in (("days", 86_400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:z.0f} {unit}"
    return f"{seconds:z.0f} seconds"


def memory_now() -> int:
    """Bytes of this process at its highest so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
