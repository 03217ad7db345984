"""What one point of a run is: its config, what was measured, on what, and what is doubtful."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from splitlab.storage import canonical_json, sha256

METHOD_VERSION = 1  # raise it when a change makes old numbers incomparable


class Leakage(BaseModel):
    """A mean with its 95 % bootstrap interval over independent groups.

    `mean` is None where the metric could not be computed; `why` then says so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    unit: str
    leakage: Literal["rises", "falls"]
    mean: float | None
    low: float | None = None
    high: float | None = None
    items: int = 0
    groups: int = 0
    why: str = ""


class KeptImages(BaseModel):
    """Which of a record's reconstructions are kept as tensors.

    Args:
        file: under images/.
        victims: kept as images, of `of` that were scored; per-victim numbers are kept of all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    victims: int
    of: int


class Record(BaseModel):
    """One file under `records/`. Data is named by kind and hash, never by path."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["splitlab/record/1"] = "splitlab/record/1"
    hash: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    method_version: int
    config: dict[str, Any]
    data_hash: str
    created: str
    split: dict[str, Any] = Field(description="the split point: name, index, shape, bytes, MACs")
    threat: dict[str, Any] = Field(description="what was granted, by field")
    utility: dict[str, float] = Field(description="accuracy in %, of the split and of the whole")
    rate: dict[str, float] = Field(description="bytes per image: payload and framed, up and down")
    latency: dict[str, dict[str, float]] = Field(
        default_factory=dict,
        description="stage -> p50 and p95 in ms, where it was measured with the point or joined",
    )
    latency_facts: dict[str, Any] = Field(
        default_factory=dict,
        description="of the run's record of latency, once joined; a file under records/ has none",
    )
    leakage: dict[str, Leakage]
    floor: dict[str, Leakage]
    effort: dict[str, float] = Field(description="seconds and counts of the attack")
    attack_facts: dict[str, Any] = Field(
        default_factory=dict,
        description="what the attack says of itself: settings it chose, losses",
    )
    doubts: tuple[str, ...] = ()
    estimates: str = Field(default="image", description="kind of what the attack estimates")
    images: str | None = Field(default=None, description="file under images/ with the grid's data")
    kept: KeptImages | None = Field(default=None, description="tensors under images/; None before")
    environment: dict[str, Any]


def point_hash(config: dict[str, Any], data_hash: str) -> str:
    """Hex SHA-256 of a point: its config with defaults, its data, the version of the methods."""
    return sha256(canonical_json(config), data_hash.encode(), METHOD_VERSION.to_bytes(4, "little"))
