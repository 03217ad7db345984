"""What a search tried and what came of it, and how that is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from rich.table import Table

from splitlab.metrics.image.psnr import METRIC as PSNR
from splitlab.metrics.image.ssim import METRIC as SSIM

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Trial:
    """One setting on one seed's validation images: means, what it cost, and its own doubts.

    Args:
        psnr, ssim, mse: None where the attack failed.
        failed: why it did, "" where it did not.
    """

    settings: Settings
    seed: int
    floor_psnr: float
    psnr: float | None = None
    ssim: float | None = None
    mse: float | None = None
    seconds: float | None = None
    doubts: tuple[str, ...] = ()
    failed: str = ""


@dataclass(frozen=True)
class Tried:
    """One setting with its trials, a seed each."""

    settings: Settings
    trials: tuple[Trial, ...]

    def mean(self, name: str) -> float | None:
        """Of one of the trials' numbers; None where one is missing."""
        values = [getattr(trial, name) for trial in self.trials]
        return None if None in values else mean(values)


@dataclass(frozen=True)
class Searched:
    """All trials of a search.

    Args:
        tried: each setting of the grid, the best mean PSNR first.
        path: of the record.
    """

    tried: tuple[Tried, ...]
    path: Path


def table(found: Searched) -> Table:
    """For a terminal: means over seeds, the best first."""
    drawn = Table(header_style="bold", pad_edge=False)
    for name in found.tried[0].settings:
        drawn.add_column(name)
    floor = PSNR.heading_of("floor")
    for name in (PSNR.heading, "by seed", SSIM.heading, floor, "seconds", "doubts"):
        drawn.add_column(name, justify="left" if name == "doubts" else "right")
    for one in found.tried:
        said = [words for t in one.trials for words in (*t.doubts, t.failed) if words]
        drawn.add_row(
            *map(str, one.settings.values()),
            _text(one.mean("psnr"), PSNR.digits.means),
            ", ".join(_text(trial.psnr, PSNR.digits.means) for trial in one.trials),
            _text(one.mean("ssim"), SSIM.digits.means),
            _text(one.mean("floor_psnr"), PSNR.digits.means),
            _text(one.mean("seconds"), 1),
            "; ".join(dict.fromkeys(said)),
        )
    return drawn


def _text(value: float | None, digits: int) -> str:
    return "failed" if value is None else f"{value:z.{digits}f}"
