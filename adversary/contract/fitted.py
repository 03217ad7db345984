"""Where an attack keeps what it has learned: until the estimate is there, or for other captures.

What `adversary attack --fitted FOLDER` keeps is found by hashes, and what they name is all that it
depends on:

    FOLDER/<attack>-<network>/fit-<key>*        one fit: its settings, seed and knowledge
    FOLDER/dci-<network>/blocks/<key>           inverses of the first k blocks (see `Shelf`)
    FOLDER/dci-<network>/images-<key>/          images that `dci` made for itself
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from adversary.contract.attack import Attack, Outcome
from adversary.contract.threat import ThreatModel
from adversary.contract.workplace import fit_key, network_key
from splitlab.errors import BadInput
from splitlab.storage import lock, require_writable
from splitlab.training import Progress, Work

FIT = "fit-"


@dataclass(frozen=True, eq=False)
class Fitting:
    """
    Args:
        checkpoint: where the fit keeps what it has learned so far.
        threat: what it may learn from.
        kept: whether that outlives the estimate.
    """

    checkpoint: Path
    threat: ThreatModel
    kept: bool

    @classmethod
    def of(
        cls, out: Path, fitted: Path | None, attack: Attack, threat: ThreatModel, seed: int
    ) -> Fitting:
        """In `out`, or in `fitted` where that is given.

        Raises:
            BadInput: nothing of the attack is kept, or `fitted` cannot be written.
        """
        if fitted is None:
            return cls(out / f"{FIT}{fit_key(attack, threat, seed)}" / "fit.pt", threat, False)
        if attack.fitted_on == "nothing":
            raise BadInput(f"--fitted: attack {attack.name!r} has no fit to keep; leave it out")
        require_writable(fitted)
        if attack.fitted_on == "grant":
            # Its key shall be the next capture's too, so that it must not even see this one.
            threat = replace(threat, capture=None)
        place = fitted / f"{attack.name}-{network_key(threat)}"
        return cls(place / f"{FIT}{fit_key(attack, threat, seed)}.pt", threat, True)

    @contextmanager
    def heard(self, progress: Progress) -> Iterator[Heard]:
        """While it lasts nobody else trains for the same kept fit."""
        heard = Heard(progress)
        if not self.kept:
            yield heard
            return
        with lock(self.checkpoint):
            yield heard

    def taken(self, heard: Heard, outcome: Outcome) -> list[str] | None:
        """What was there already; None where nothing is kept."""
        if not self.kept:
            return None
        blocks = int(outcome.estimate.extra.get("from_shelf", 0))
        return [*heard.found, *([f"inverses of blocks 1 to {blocks}"] if blocks else [])]


class Heard:
    """Progress that passes everything on, and keeps what had been done before it began.

    Args:
        progress: who is told.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.found: list[str] = []

    def task(self, name: str, total: int, done: int = 0) -> Work:
        if done:
            self.found.append(name if done >= total else f"{100 * done // total} % of {name}")
        return self._progress.task(name, total, done)


def forget_fits(out: Path) -> None:
    """Remove what unfinished fits kept in `out`, whatever their settings; the estimate is there."""
    for folder in out.glob(f"{FIT}*"):
        shutil.rmtree(folder, ignore_errors=True)


def shelf(folder: Path | None) -> dict[Path, tuple[int, int]]:
    """What a folder of `--fitted` keeps: each file or checkpoint below it, its size and time."""
    if folder is None or not folder.is_dir():
        return {}
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    seen = {path: path.stat() for path in files}
    return {path.relative_to(folder): (s.st_size, s.st_mtime_ns) for path, s in seen.items()}
