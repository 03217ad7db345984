"""What every loader is told besides its own argument."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class LoadOptions:
    """How a data set is loaded.

    Args:
        size: side of the images in pixels.
        seed: public seed that draws crops and partitions.
        root: folder in which data sets of known names lie or are downloaded to.
        download: whether a loader may fetch what is missing.
    """

    size: int = 32
    seed: int = 0
    root: Path = Path("datasets")
    download: bool = False
