"""The comparison as a table, a CSV file and a JSON document beside the records."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.table import Table

from bench.perf.attacks.compare import Comparison, Difference, compared
from bench.perf.attacks.measure import asking, contenders, ours_in_order
from bench.perf.attacks.readings import write_readings
from bench.perf.attacks.records import AttackRow
from bench.perf.attacks.settings import ComparisonSettings
from splitlab.answers import plain_data
from splitlab.storage import write_bytes, write_json

SUMMARY, CSV = "summary.json", "table.csv"
COLUMNS = (
    *("split", "queries_alone", "budget_seconds", "ours", "ours_seconds", "peer", "pairs"),
    *("psnr_ours", "psnr_peer", "psnr_difference", "psnr_low", "psnr_high", "psnr_verdict"),
    *("ssim_ours", "ssim_peer", "ssim_difference", "ssim_low", "ssim_high", "ssim_verdict"),
)
NONE_FINISHED = "none finished"
ALONE = ", queries alone"
DISTURBED = 1.2
"""Seconds that pass in a CPU second, above which others were at work on the same cores: a CPU
second is then worth less, to a contender of many small steps least."""
UNEVEN = 1.25
"""Rows of a split point and seed, of which the slowest's yardstick took more than so many times the
fastest's, were not given the same seconds."""


def summary_of(
    rows: Sequence[AttackRow], settings: ComparisonSettings, missing: int
) -> dict[str, Any]:
    """All that was found: each contender's means, each comparison, and whether any is weaker.

    `ok` is said of a whole comparison alone: every contender, every row, at full size, of one
    commit, on cores that were free and kept their pace.
    """
    lines = lines_of(rows, settings)
    weaker = sum(line.weaker for line in lines)
    disturbed = sum(row.wall_per_cpu > DISTURBED for row in rows)
    left_out = [name for name in contenders() if name not in settings.contenders]
    environments = _environments(rows)
    commits = {one.get("commit") for one in environments}
    pace = pace_ratio(rows)
    steady = pace is not None and pace <= UNEVEN
    whole = bool(lines) and not (missing or left_out or disturbed or settings.quick)
    return {
        "format": "splitlab/perf-attacks-summary/1",
        "settings": settings.model_dump(mode="json"),
        "missing": missing,
        "left_out": left_out,
        "ours_in_order": list(ours_in_order()),
        "contenders": [_means(rows, name, split) for split, name in _places(rows)],
        "comparisons": [_line(line) for line in lines],
        "weaker": weaker,
        "not_told_apart": sum(line.not_told_apart for line in lines),
        "ok": whole and steady and len(commits) == 1 and not weaker,
        "disturbed": disturbed,
        "pace_ratio": pace,
        "environments": environments,
    }


def lines_of(rows: Sequence[AttackRow], settings: ComparisonSettings) -> list[Comparison]:
    """Every comparison that the rows allow."""
    ours = [row for row in rows if row.kind == "ours"]
    peers = [row for row in rows if row.kind == "peer"]
    return compared(ours, peers, settings.budgets, ours_in_order(), asking())


def pace_ratio(rows: Sequence[AttackRow]) -> float | None:
    """Seconds of the yardstick beside the slowest row, over those beside the fastest one.

    The largest such ratio of rows that are compared; None where one of them has no yardstick.
    """
    places: dict[tuple[str, int], list[float | None]] = {}
    for row in rows:
        places.setdefault((row.split, row.seed), []).append(row.yardstick)
    told = [[one for one in several if one] for several in places.values()]
    if not told or any(len(a) < len(b) for a, b in zip(told, places.values(), strict=True)):
        return None
    return max(max(several) / min(several) for several in told)


def write_summary(folder: Path, summary: dict[str, Any]) -> None:
    """`summary.json`, `table.csv` and `readings.csv`, each whole or not at all."""
    write_json(folder / SUMMARY, plain_data(summary))
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(summary["comparisons"])
    write_bytes(folder / CSV, text.getvalue().encode())
    write_readings(folder, summary)


def rich_lines(lines: Sequence[Comparison], settings: ComparisonSettings) -> Table:
    """A row for each split point, budget and peer; differences are ours minus the peer's."""
    drawn = Table(
        title=f"{settings.model} on {settings.dataset}: ours against the peers' loops",
        caption="PSNR in dB / SSIM at so many CPU seconds; ours is the first of its list that was "
        "finished in time; a peer's is its best until then; difference: ours minus the peer's, "
        f"95 % interval over victims;{ALONE.removeprefix(',')}: neither knows the head",
        header_style="bold",
        pad_edge=False,
    )
    for title in ("split point", "s", "ours", "its dB / SSIM", "peer", "peer's dB / SSIM"):
        drawn.add_column(title, justify="right" if title == "s" else "left")
    for title in ("PSNR differs", "SSIM differs"):
        drawn.add_column(title)
    before = None
    for line in lines:
        place = (line.split, line.queries_alone, line.budget)
        if before is not None and before[:2] != place[:2]:
            drawn.add_section()
        first, before = place != before, place
        drawn.add_row(
            f"{line.split}{ALONE if line.queries_alone else ''}" if first else "",
            f"{line.budget:g}" if first else "",
            _ours(line) if first else "",
            _pair(line.psnr.ours, line.ssim.ours) if first and line.psnr and line.ssim else "",
            line.peer,
            _pair(*line.peer_means),
            _difference(line.psnr, 1),
            _difference(line.ssim, 3),
            style="bold red" if line.weaker else None,
        )
    return drawn


def verdict_told(summary: dict[str, Any]) -> str:
    """One line of what came of it."""
    count, weaker = len(summary["comparisons"]), summary["weaker"]
    left = f"; {summary['missing']} runs are missing" if summary["missing"] else ""
    if summary["left_out"]:
        left += f"; contenders left out: {len(summary['left_out'])}"
    commits = {one.get("commit") for one in summary["environments"]}
    if summary["disturbed"]:
        left += f"; runs that waited for their core: {summary['disturbed']}, measure them again"
    left += f"; rows are of {len(commits)} commits" if len(commits) > 1 else ""
    if (pace := summary["pace_ratio"]) is not None and pace > UNEVEN:
        left += f"; a core was {pace:z.1f} times as fast in one row as in another"
    if summary["settings"]["quick"]:
        return f"{count} comparisons, too short for a verdict (--quick){left}."
    if not count:
        return f"Nothing can be compared yet{left}."
    if summary["not_told_apart"]:
        left = f", not told apart in {summary['not_told_apart']} (mean below 0){left}"
    return f"Ours is weaker in {weaker or 'none'} of {count} comparisons{left}."


def _ours(line: Comparison) -> str:
    """Its name, open to a fold after each option, and the seconds of its slowest seed."""
    if line.ours is None:
        return NONE_FINISHED
    name = line.ours.replace(":", ": ").replace(",", ", ")
    return name if line.seconds is None else f"{name} in {line.seconds:z.0f} s"


def _pair(psnr: float, ssim: float) -> str:
    return f"{psnr:z.1f} / {ssim:z.3f}"


def _difference(one: Difference | None, digits: int) -> str:
    if one is None:
        return "weaker"
    mean, low, high = one.interval
    ends = "" if low is None else f" [{low:+z.{digits}f}, {high:+z.{digits}f}]"
    return f"{mean:+z.{digits}f}{ends} {one.word}"


def _line(line: Comparison) -> dict[str, Any]:
    found: dict[str, Any] = {
        "split": line.split,
        "queries_alone": line.queries_alone,
        "budget_seconds": line.budget,
        "ours": line.ours,
        "ours_seconds": line.seconds,
        "peer": line.peer,
        "pairs": line.pairs,
        "weaker": line.weaker,
        "not_told_apart": line.not_told_apart,
    }
    both = zip(("psnr", "ssim"), (line.psnr, line.ssim), line.peer_means, strict=True)
    for name, one, peer in both:
        ends = one.interval if one else (None, None, None)
        values = (one and one.ours, peer, *ends, one.word if one else "weaker")
        keys = ("ours", "peer", "difference", "low", "high", "verdict")
        found |= {f"{name}_{key}": value for key, value in zip(keys, values, strict=True)}
    return found


def _places(rows: Sequence[AttackRow]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((row.split, row.contender) for row in rows))


def _means(rows: Sequence[AttackRow], name: str, split: str) -> dict[str, Any]:
    """A contender at a split point: at each reading the means over all victims of all seeds."""
    own = [row for row in rows if (row.contender, row.split) == (name, split)]
    readings = [
        {
            "budget_seconds": several[0].budget,
            "seconds": fmean(one.seconds for one in several),
            "psnr": fmean(value for one in several for value in one.psnr),
            "ssim": fmean(value for one in several for value in one.ssim),
        }
        for several in zip(*(row.readings for row in own), strict=True)
    ]
    return {
        "split": split,
        "contender": name,
        "kind": own[0].kind,
        "source": own[0].source,
        "seeds": [row.seed for row in own],
        "readings": readings,
    }


def _environments(rows: Sequence[AttackRow]) -> list[dict[str, Any]]:
    """Of all rows, each once."""
    found: list[dict[str, Any]] = []
    for row in rows:
        if row.environment not in found:
            found.append(row.environment)
    return found
