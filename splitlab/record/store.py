"""The folder of records: write once, read back with clear errors, derive lists."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from splitlab.checked import checked
from splitlab.errors import Corrupt
from splitlab.record.latency import Latency, joined
from splitlab.record.record import Record
from splitlab.storage import read_json, write_bytes, write_json

REMEDY = "remove that file and start the run again; it repeats only this point"
LATENCY_REMEDY = "remove that file and start the run again; it measures only the latency"


class RecordStore:
    """`RUN/records/<hash>.json`. A record that exists is never written again."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.folder = run / "records"
        self.latency_folder = run / "latency"

    def path(self, point: str) -> Path:
        return self.folder / f"{point}.json"

    def has(self, point: str) -> bool:
        """Whether this point is finished. A damaged record is an error, not a missing one."""
        if not self.path(point).exists():
            return False
        self.read(point)
        return True

    def read(self, point: str) -> Record:
        """
        Raises:
            Corrupt: absent, damaged, or another point's record under this name.
        """
        path = self.path(point)
        content = read_json(path, REMEDY)
        record = checked(Record, content, path, REMEDY)
        if record.hash != point:
            raise Corrupt(path, f"is the record of point {record.hash[:12]}", REMEDY)
        return record

    def write(self, record: Record) -> None:
        """Write by fsync and rename; an existing record is left as it is."""
        if not self.path(record.hash).exists():
            content = record.model_dump(mode="json", exclude={"latency_facts"})
            write_json(self.path(record.hash), content)

    def write_latency(self, latency: Latency) -> None:
        """Write by fsync and rename; one that exists is left as it is."""
        path = self.latency_folder / f"{latency.hash}.json"
        if not path.exists():
            write_json(path, latency.model_dump(mode="json"))

    def latencies(self) -> list[Latency]:
        """Every measurement of latency, in order of name.

        Raises:
            Corrupt: one is damaged.
        """
        found = []
        for path in sorted(self.latency_folder.glob("*.json")):
            latency = checked(Latency, read_json(path, LATENCY_REMEDY), path, LATENCY_REMEDY)
            if latency.hash != path.stem:
                what = f"is the measurement {latency.hash[:12]}"
                raise Corrupt(path, what, LATENCY_REMEDY)
            found.append(latency)
        return found

    def all(self) -> list[Record]:
        """Every record, in order of split point, then attack, then hash; latency is joined."""
        found = [self.read(p.stem) for p in sorted(self.folder.glob("*.json"))]
        return sorted(
            joined(found, self.latencies()),
            key=lambda r: (r.split.get("index", 0), str(r.config.get("attack", "")), r.hash),
        )

    def derive(self, records: list[Record]) -> None:
        """Write `records.jsonl` and `records.csv` beside the folder."""
        lines = [json.dumps(r.model_dump(mode="json"), sort_keys=True) for r in records]
        write_bytes(self.run / "records.jsonl", ("\n".join(lines) + "\n").encode())
        rows = [flat(r) for r in records]
        fields = list(dict.fromkeys(key for row in rows for key in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, fields, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_bytes(self.run / "records.csv", text.getvalue().encode())


def flat(record: Record) -> dict[str, object]:
    """One CSV row: config, split, utility, rate, latency, each metric with its interval."""
    row: dict[str, object] = {"hash": record.hash, "data_hash": record.data_hash}
    for key, value in record.config.items():
        if isinstance(value, str | int | float | bool) or value is None:
            row[f"config.{key}"] = value
    for key in ("name", "index", "bytes_per_image", "head_macs", "rest_macs"):
        row[f"split.{key}"] = record.split.get(key)
    row |= {f"utility.{k}": v for k, v in record.utility.items()}
    row |= {f"rate.{k}": v for k, v in record.rate.items()}
    for stage, values in record.latency.items():
        row |= {f"latency.{stage}.{k}_ms": v for k, v in values.items()}
    if record.latency_facts:
        names = ("record", "created", "images", "load.others")
        row |= {f"latency.{name}": record.latency_facts.get(name) for name in names}
    for kind, metrics in (("leakage", record.leakage), ("floor", record.floor)):
        for name, value in metrics.items():
            row |= {f"{kind}.{name}": value.mean, f"{kind}.{name}.low": value.low}
            row[f"{kind}.{name}.high"] = value.high
    row["doubts"] = "; ".join(record.doubts)
    row["commit"] = record.environment.get("commit")
    return row
