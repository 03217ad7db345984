"""`capture.json`: what a capture is, and when its tap was started and stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from splitlab.capture.shards import REMEDY, Vantage
from splitlab.checked import checked
from splitlab.storage import read_json, write_json

Whole = Annotated[int, Field(ge=0)]


class Session(BaseModel):
    """One start of the tap. Counts are written when it is stopped in order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first_shard: Whole
    started_ns: Whole
    closed: bool = False
    frames: Whole = 0
    dropped: Whole = 0
    shards: Whole = 0


class Index(BaseModel):
    """All of `capture.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["splitlab/capture/1"] = "splitlab/capture/1"
    vantage: Vantage
    sessions: tuple[Session, ...]


def index_path(folder: Path) -> Path:
    return folder / "capture.json"


def read_index(folder: Path) -> Index:
    """Read it.

    Raises:
        Corrupt: absent, damaged or of another format.
    """
    path = index_path(folder)
    return checked(Index, read_json(path, REMEDY), path, REMEDY)


def write_index(folder: Path, index: Index) -> None:
    """Write it, atomically.

    Raises:
        StorageFull: no space left; the old one stands.
    """
    write_json(index_path(folder), index.model_dump(mode="json"))
