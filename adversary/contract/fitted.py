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
from typing import Any

from adversary.contract.attack import Attack, Outcome
from adversary.contract.threat import ThreatModel
from defenses import DEFENSES
from splitlab.contracts.method import told_of
from splitlab.entry_points import ATTACK_GROUP
from splitlab.errors import BadInput
from splitlab.named import named_fields, stacked
from splitlab.record import METHOD_VERSION
from splitlab.storage import canonical_json, hash_tensors, lock, require_writable, sha256
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
        place = fitted / f"{attack.name}-{_network(threat)}"
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


def fit_key(attack: Attack, threat: ThreatModel, seed: int) -> str:
    """12 hex digits, others for another attack, setting, seed, method or piece of knowledge."""
    told = {
        "method": METHOD_VERSION,
        "attack": attack.name,
        "settings": attack.model_dump(mode="json"),
        "seed": seed,
        "wire": threat.wire,
        "defense": threat.defense,
        "head_end": threat.head_end,
        "tail_start": threat.tail_start,
        "outputs": [threat.P, threat.selector],
        "feature": threat.feature and threat.feature.model_dump(mode="json"),
        "network": _network(threat),
    }
    if packages := _packages(attack, threat.defense):
        told["packages"] = packages
    labels = {}
    if (own := threat.aux) is not None:
        labels = {"aux": own.images.labels, "held out": own.validation.labels}
        told["images"] = [own.kind, own.layers, own.images.classes]
    parts = (threat.fingerprint(), hash_tensors(labels))
    return sha256(canonical_json(told), *(part.encode() for part in parts))[:12]


def _packages(attack: Attack, defense: str | None) -> dict[str, str]:
    """Which of the methods are another package's, or not in their first version."""
    found = {f"attack {attack.name}": told_of(ATTACK_GROUP, attack.name, type(attack))}
    for name in (named_fields(part)[0] for part in stacked(defense or "none")):
        if name in DEFENSES:
            DEFENSES.require_permitted(name)
            found[f"defense {name}"] = told_of(DEFENSES.group, name, DEFENSES.load(name))
    return {name: one for name, one in found.items() if one}


def _network(threat: ThreatModel) -> str:
    """8 hex digits of what no weight tells: architecture and normalisation, not where it is cut."""
    known: dict[str, Any] = {
        name: value and value.model_dump(mode="json")
        for name, value in (("arch", threat.arch), ("input", threat.input))
    }
    return sha256(canonical_json({**known, "method": METHOD_VERSION}))[:8]


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
