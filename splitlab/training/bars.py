"""Progress for people: bars on a terminal, plain lines where there is none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text
from torch import Tensor

from splitlab.training.plain_progress import PlainProgress
from splitlab.training.progress import Progress, Work


class _Rate(TextColumn):
    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:z,.0f} images/s" if speed else "", style="progress.data.speed")


class _RichWork:
    """Advances a bar; the loss is read from the device at most five times a second."""

    def __init__(self, bars: Bars, name: str, total: int, done: int) -> None:
        self._bars = bars
        self._id = bars.add_task(name, total=total, completed=done, loss="")
        self._shown = 0.0

    def advance(self, count: int, loss: Tensor | float | None = None) -> None:
        now = time.monotonic()
        if loss is not None and now - self._shown > 0.2:
            self._shown = now
            self._bars.update(self._id, loss=f"loss {float(loss):z.3f}")
        self._bars.advance(self._id, count)

    def close(self) -> None:
        self._bars.stop_task(self._id)


class RichProgress:
    """Bars on a terminal; use inside `showing`."""

    def __init__(self, bars: Bars) -> None:
        self.bars = bars

    def task(self, name: str, total: int, done: int = 0) -> Work:
        return _RichWork(self.bars, name, total, done)


@contextmanager
def showing(console: Console | None = None, transient: bool = False) -> Iterator[Progress]:
    """Bars that live as long as the block; `transient` wipes them at its end.

    Where the console is no terminal, plain lines in their place.
    """
    console = console or Console()
    if not console.is_terminal:

        def say(line: str) -> None:
            console.print(line, soft_wrap=True, markup=False)

        yield PlainProgress(say)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[loss]}", markup=False),
        _Rate(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console, transient=transient) as bars:
        yield RichProgress(bars)
