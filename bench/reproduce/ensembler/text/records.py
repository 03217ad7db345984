"""Records of the experiment on text: one file a row, and one of a finished run to continue from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.reproduce.ensembler.text.config import TextConfig
from splitlab.data.text.sentences import SentenceSplits
from splitlab.errors import BadInput
from splitlab.machine import environment
from splitlab.storage import canonical_json, read_json, sha256, write_json

FINISHED = "finished.json"


def write_record(
    row: dict[str, Any], config: TextConfig, splits: SentenceSplits, out: Path
) -> None:
    """The row with what it was measured on, as `out/records/<hash>.json`."""
    content = {
        "format": "splitlab/text/1",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": config.model_dump(mode="json"),
        "data": {"name": splits.name, "hash": splits.hash},
        "environment": environment(),
        **row,
    }
    names = [row[key] for key in ("scale", "seed", "defense", "attack")]
    key = sha256(canonical_json([names, content["config"], splits.hash]))
    write_json(out / "records" / f"{key}.json", content)


def finish(
    out: Path,
    about: dict[str, Any],
    rows: Sequence[dict[str, Any]],
    examples: Sequence[dict[str, str]],
) -> None:
    """Say that the run which `about` describes is done."""
    content = {"about": about, "rows": list(rows), "examples": list(examples)}
    write_json(out / FINISHED, content)


def finished(
    out: Path, about: dict[str, Any]
) -> tuple[list[dict[str, Any]], list[dict[str, str]]] | None:
    """Rows and examples of a run that is done, or None.

    Raises:
        BadInput: another run's folder.
    """
    if not (out / FINISHED).exists():
        return None
    content = read_json(out / FINISHED, "remove it and start again")
    if canonical_json(content["about"]) != canonical_json(about):
        raise BadInput(f"{out} holds a run with other settings; choose another --out")
    return content["rows"], content["examples"]
