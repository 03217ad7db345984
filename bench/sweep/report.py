"""The report of a run, from its records alone: one HTML file without a network, JSON and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.point import data_notes
from bench.point.kept import kept_told
from bench.report.grids import data_uri
from bench.report.page import filled, missing_columns
from bench.report.quantities import headline, headlines, value_in, views
from bench.report.settings_table import setting_groups
from bench.sweep.depth import depth_correlations
from bench.sweep.page_table import page_tables
from bench.sweep.recommend import recommend
from bench.sweep.table import sweep_table
from splitlab import __version__
from splitlab.errors import BadInput
from splitlab.record import Record, RecordStore, doubts
from splitlab.storage import write_bytes, write_json

HIDDEN_SETTINGS = frozenset(
    {"split", "attack", "knowledge", "attack_options", "attacked", "granted", "stream", "place"}
)


def write_report(run: Path) -> Path:
    """Write `report.html`, `report.json`, `records.jsonl` and `records.csv` into `run`.

    Returns:
        the path of `report.html`.

    Raises:
        BadInput: no such folder, or no record in it.
        Corrupt: a record is damaged; the message names it.
    """
    if not run.is_dir():
        what = "is a file" if run.exists() else "there is no such folder"
        raise BadInput(f"{run}: {what}; give the folder of a run")
    store = RecordStore(run)
    records = store.all()
    if not records:
        raise BadInput(f"{run}: it holds no records yet; run the sweep first")
    store.derive(records)
    known = data_notes.kept(run)
    write_json(run / "report.json", {**report_data(records), **({"data": known} if known else {})})
    write_bytes(run / "report.html", render(run, records).encode())
    return run / "report.html"


def report_data(records: Sequence[Record]) -> dict[str, Any]:
    """Everything that the page shows, as JSON: recommendation, doubts and the records."""
    return {
        "format": "splitlab/report/1",
        "version": __version__,
        "recommendation": asdict(recommend(records)),
        "doubts": all_doubts(records),
        "depth": depth_correlations(records),
        "records": [r.model_dump(mode="json") for r in records],
    }


def all_doubts(records: Sequence[Record]) -> list[str]:
    """Each record's own doubts, with its place, and those of the run as a whole."""
    own = [
        f"{r.split['name']}, {r.config['attack']} ({r.config['knowledge']}): {doubt}"
        for r in records
        for doubt in r.doubts
    ]
    return doubts(records) + own


def render(run: Path, records: Sequence[Record]) -> str:
    """The page. Images are embedded, nothing is loaded from elsewhere."""
    from bench.sweep.plots import sweep_figure

    # A split point's datatypes one after another, each with its attacks.
    records = sorted(records, key=lambda r: (r.split["index"], r.split["name"]))
    first, advice = records[0], recommend(records)
    config, table = first.config, sweep_table(records, advice.split)
    settings = {k: v for k, v in sorted(config.items()) if k not in HIDDEN_SETTINGS}
    return filled(
        "report.html.j2",
        title=f"{config['model']} on {config['dataset']}: what leaks at each split point",
        lead=_lead(records),
        recommendation=advice,
        tables=page_tables(table),
        note=table.note,
        figure=sweep_figure(records),
        depth=depth_correlations(records),
        judged=" or ".join(one.title or one.name for one in headlines(records)),
        threats=_threats(records),
        grids=_grids(run, records),
        kept=kept_told(records),
        views=views(records),
        doubts=all_doubts(records),
        missing=missing_columns(records),
        settings=setting_groups(settings),
        environment=setting_groups({"measured": first.created, **first.environment}),
        count=len(records),
        data=data_notes.kept(run),
    )


def _lead(records: Sequence[Record]) -> str:
    first = records[0]
    attacks = ", ".join(sorted({str(r.config["attack"]) for r in records}))
    places = len({r.split["name"] for r in records})
    whole = first.utility.get("accuracy_whole", first.utility["accuracy"])
    return (
        f"Defence: {first.config['defense']}. {places} split points, attacked with {attacks}. "
        f"The whole network reaches {whole:z.1f} % on the victims' images."
    )


def _threats(records: Sequence[Record]) -> list[dict[str, Any]]:
    """One card for each pair of attack and knowledge."""
    cards: dict[str, dict[str, Any]] = {}
    for record in records:
        name = f"{record.config['attack']}, {record.config['knowledge']}"
        granted = ((k, v) for k, v in record.threat.items() if v not in (None, False, ""))
        own = {"settings": record.config.get("attack_options")}
        given = {**dict(granted), **{k: v for k, v in own.items() if v}}
        cards.setdefault(name, {"name": name, "groups": setting_groups(given)})
    return list(cards.values())


def _grids(run: Path, records: Sequence[Record]) -> list[dict[str, str]]:
    found = []
    for record in records:
        data = data_uri(run / "images" / record.images) if record.images else None
        if data is None:
            continue
        value = value_in(record.leakage, headline(record))
        shown = "" if value is None else headline(record).told(value)
        attack = f"{record.config['attack']}, {record.config['knowledge']}"
        found.append(
            {
                "split": record.split["name"],
                "attack": attack,
                "figure": shown,
                "data": data,
                "kind": record.estimates,
            }
        )
    return found
