"""A run as one JSON document: what its tables show, a row a record, for `--json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from bench.latency.link_runs import link_names, typical
from bench.report.quantities import headline
from bench.sweep.front import pareto_front
from bench.sweep.recommend import recommend
from bench.sweep.report import all_doubts
from bench.sweep.table import decoder_with_queries, images_of, rich_table
from splitlab.record import Record
from splitlab.record.latency import LINK_PREFIX

NAMED = ("wire", "measurement", "place", "seed")
"""What else of its config tells two records of one run apart."""


def run_document(records: Sequence[Record], page: Path) -> dict[str, Any]:
    """Recommendation, rows, doubts and the page's path."""
    front = pareto_front(records)
    queried = decoder_with_queries(records)
    first = records[0].config
    return {
        "format": "splitlab/run-table/1",
        "model": first["model"],
        "dataset": first["dataset"],
        "defense": first["defense"],
        "recommendation": asdict(recommend(records)),
        "rows": [_row(record, front, queried) for record in records],
        "doubts": all_doubts(records),
        "report": str(page),
    }


def told_of(records: Sequence[Record]) -> list[RenderableType]:
    """The table, the recommendation and how many doubts there are, for a terminal."""
    advice, first = recommend(records), records[0].config
    named = f"{first['model']} on {first['dataset']}, defence {first['defense']}"
    return [
        rich_table(records, advice.split, named),
        Text(f"Recommended split point: {advice.split or 'none'}", style="bold"),
        f"{advice.reason}.",
        *([Text(f"{advice.warning}.", style="yellow")] if advice.warning else []),
        f"{len(all_doubts(records))} doubts are listed in the report.",
    ]


def _row(record: Record, front: frozenset[str], queried: dict[str, float]) -> dict[str, Any]:
    name = record.split["name"]
    macs = record.split["head_macs"] + record.split["rest_macs"]
    floor = record.floor.get(headline(record).name)
    times = {
        link: dict(zip(("what", "ms"), typical(record.latency[LINK_PREFIX + link]), strict=True))
        for link in link_names(record.latency)
    }
    return {
        "record": record.hash,
        "split": name,
        "attack": record.config["attack"],
        "knowledge": record.config["knowledge"],
        **{key: record.config[key] for key in NAMED if key in record.config},
        "images": images_of(record),
        "victims": floor.items if floor else None,
        "headline": headline(record).name,
        "leakage": {key: one.model_dump() for key, one in record.leakage.items()},
        "floor": {key: one.model_dump() for key, one in record.floor.items()},
        "decoder_with_queries_psnr": queried.get(name),
        "accuracy": record.utility["accuracy"],
        "bytes_up": record.rate["payload_up"],
        "client_macs_share": record.split["head_macs"] / max(macs, 1),
        "p50_ms": record.latency["total"]["p50"] if "total" in record.latency else None,
        "links": times,
        "pareto_front": name in front,
    }
