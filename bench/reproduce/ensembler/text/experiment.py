"""`bench reproduce ensembler-text`: every seed's rows, their mean, and the paper's five columns.

`text.md` shows them; `summary.json` and `table.csv` hold them as data.
"""

from __future__ import annotations

import csv
import io
import statistics
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from bench.reproduce.ensembler.text.run import run
from bench.reproduce.ensembler.text.table import HEADINGS, cells, claims, write_table
from bench.reproduce.frame.request import ExperimentRequest, Shown
from splitlab.storage import read_json, write_bytes, write_json

NAME = "ensembler-text"
COLUMNS = (
    *("defense", "attack", "recovery", "low", "high"),
    *("rarer_words", "whole_sentences", "accuracy_words", "doubts", "skipped"),
)
SPREAD = ("recovery", "rarer_words", "whole_sentences", "accuracy_words")
NOTE = (
    "Liu and Xiong 2024, appendix A.1, prints sentences and no numbers: its decoder reads the "
    "shadow's features and not the client's. Floor: the most frequent token of each position. "
    "Ceiling: a decoder with queries, which the threat model forbids. The interval over several "
    "seeds is their lowest and highest mean."
)


def reproduce(request: ExperimentRequest) -> Shown:
    """Run what is not finished yet; one folder a seed under `request.out`.

    Raises:
        BadInput: `request.out` holds another run, a corpus that does not fit together, or an
            option for images was given.
    """
    request.refuse(
        NAME,
        *("dataset", "data_root", "download", "lpips_weights", "weights", "target", "keep_images"),
    )
    every: list[dict[str, Any]] = []
    examples: list[dict[str, str]] = []
    for seed in request.seeds:
        place = request.out / f"seed-{seed}"
        every += run(
            request.scale,
            seed,
            place,
            text_root=request.text_root,
            device=request.device,
            secret_seed=request.secret_of(seed),
            progress=request.progress,
        )
        if (place / "finished.json").exists() and not examples:
            examples = read_json(place / "finished.json")["examples"]
    rows = over_seeds(every)
    page = request.out / "text.md"
    write_table(page, rows, examples)
    content = {
        "format": "splitlab/text-reproduction/1",
        "experiment": NAME,
        "scale": request.scale,
        "seeds": list(request.seeds),
        "rows": rows,
        "claims": claims(rows),
        "by_seed": every,
        "examples": examples,
        "notes": [NOTE],
    }
    write_json(request.out / "summary.json", content)
    write_csv(request.out / "table.csv", rows)
    return Shown([*_printed(rows), *claims(rows), NOTE], page)


def over_seeds(every: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of one defence and attack as one: means, lowest and highest; doubts of any of them."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in every:
        groups.setdefault((row.get("defense", ""), row.get("attack", "")), []).append(row)
    rows = []
    for group in groups.values():
        measured = [row for row in group if "skipped" not in row]
        if len(group) == 1 or not measured:
            rows.append(group[0])
            continue
        means = {
            key: statistics.mean(values)
            for key in SPREAD
            if (values := [row[key] for row in measured if row[key] is not None])
        }
        found = [row["recovery"] for row in measured]
        doubts = {f"seed {row['seed']}: {d}" for row in measured for d in row.get("doubts", [])}
        doubts |= {f"seed {r['seed']}: {r['skipped']}" for r in group if "skipped" in r}
        ends = {"low": min(found), "high": max(found), "doubts": sorted(doubts)}
        rows.append({**measured[0], **means, **ends})
    return rows


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """One line a row of the table; numbers in %, "" where there is none."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({**row, "doubts": "; ".join(row.get("doubts", []))})
    write_bytes(path, text.getvalue().encode())


def _printed(rows: list[dict[str, Any]]) -> list[RenderableType]:
    table = Table(*HEADINGS, title="Text: what is read from private embeddings")
    for row in rows:
        table.add_row(*cells(row))
    return [table]
