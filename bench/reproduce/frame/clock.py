"""Seconds of work that each seed of an experiment took."""

from __future__ import annotations

import time
from pathlib import Path

from splitlab.storage import read_json, write_json


class SeedClock:
    """Seconds of work a seed, over all sittings; kept in `seconds.json`."""

    def __init__(self, run: Path) -> None:
        self._path = run / "seconds.json"
        kept = read_json(self._path) if self._path.exists() else {}
        self.seconds: dict[str, float] = {key: float(value) for key, value in kept.items()}
        self._since = time.perf_counter()

    def start(self) -> None:
        """Begin to count."""
        self._since = time.perf_counter()

    def lap(self, seed: int) -> None:
        """Add what has passed to a seed's account."""
        now = time.perf_counter()
        self.seconds[str(seed)] = round(self.seconds.get(str(seed), 0.0) + now - self._since, 2)
        self._since = now
        write_json(self._path, self.seconds)
