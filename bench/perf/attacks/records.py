"""A JSON file for each contender at each split point under each seed; a kill costs one at most."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from splitlab.checked import checked
from splitlab.errors import BadInput
from splitlab.storage import read_json, sha256, write_json

FORMAT = "splitlab/perf-attacks-row/1"
FOLDER = "records"


@dataclass(frozen=True)
class Measured:
    """At one time, of each victim.

    Args:
        budget: CPU seconds allowed; None of an attack that was run to its own end.
        seconds: CPU seconds taken.
        steps: made so far; None where the attack does not say.
        psnr: in dB, a number a victim.
        ssim: the same.
        broken: images with numbers that are none.
    """

    budget: float | None
    seconds: float
    steps: int | None
    psnr: tuple[float, ...]
    ssim: tuple[float, ...]
    broken: int = 0


@dataclass(frozen=True)
class AttackRow:
    """One contender, measured.

    Args:
        split, seed, contender: which.
        kind: "ours" or "peer".
        settings: of the contender, all of them.
        source: where a peer was read.
        groups: the independent unit of each victim.
        readings: of a peer one a budget; of ours a single one.
        facts: more of ours: seconds of fit and reconstruction, what won, doubts.
        environment: machine, versions, threads, commit.
        wall_per_cpu: seconds that passed in one CPU second; above 1 where others had the core.
        yardstick: CPU seconds of the same small work before and after it, their mean; None of a
            row that was measured before there was one.
    """

    split: str
    seed: int
    contender: str
    kind: Literal["ours", "peer"]
    settings: dict[str, Any]
    groups: tuple[int, ...]
    readings: tuple[Measured, ...]
    source: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    wall_per_cpu: float = 1.0
    yardstick: float | None = None

    def at(self, budget: float) -> Measured | None:
        """What it had by then; None of one of ours that was not finished."""
        if self.kind == "ours":
            [own] = self.readings
            return own if own.seconds <= budget else None
        return next((one for one in self.readings if one.budget == budget), None)


@dataclass(frozen=True)
class RowKey:
    """Which row."""

    split: str
    seed: int
    contender: str

    @property
    def file(self) -> str:
        """Its name in the folder; two contenders that read alike have another hash."""
        words = re.sub(r"[^A-Za-z0-9.]+", "-", f"{self.split} seed{self.seed} {self.contender}")
        return f"{words.strip('-')}-{sha256(str(self).encode())[:6]}.json"


def write_row(folder: Path, row: AttackRow) -> None:
    """Whole or not at all."""
    key = RowKey(row.split, row.seed, row.contender)
    write_json(folder / FOLDER / key.file, {"format": FORMAT, **asdict(row)})


def read_row(folder: Path, key: RowKey, settings: dict[str, Any] | None = None) -> AttackRow | None:
    """A finished row; None where there is none.

    Args:
        settings: of the contender as it is now; None to take whatever is there.

    Raises:
        Corrupt: it is damaged.
        BadInput: it is of other settings of the contender.
    """
    path = folder / FOLDER / key.file
    if not path.exists():
        return None
    remedy = "remove it to measure it again"
    told = {name: one for name, one in read_json(path, remedy).items() if name != "format"}
    row = checked(AttackRow, told, path, remedy)
    if settings is not None and row.settings != settings:
        changed = sorted(
            name
            for name in row.settings.keys() | settings.keys()
            if row.settings.get(name) != settings.get(name)
        )
        raise BadInput(
            f"{path}: {key.contender} was measured with other settings ({', '.join(changed)}); "
            "remove the file to measure it again, or choose another --out"
        )
    return row
