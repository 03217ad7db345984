"""Every reader on many inputs, guided by coverage or structure: `python tests/fuzz/run.py`.

Coverage sees our own Python. Where a parser in C or Rust comes first, inputs are valid documents
with a few fields changed (`documents.py`).

A crash, an error that is not the lab's, an input that takes too long or too much memory stops its
target; the input is kept beside the corpus, and the exit code is 1.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1]), str(HERE.parents[0] / "localhost")]

MEMORY_MB = 1500  # torch alone takes a third of it
SECONDS = 10  # for one input
LENGTHS = dict.fromkeys(("request", "reply", "lane", "handler"), 1 << 20)
LENGTH = 8192
"""Bytes of an input; messages are as large as a micro-batch."""


def main(
    inputs: Annotated[int, typer.Option(min=1, help="of each target")] = 100_000,
    target: Annotated[list[str] | None, typer.Option(help="only these; repeat it")] = None,
    folder: Annotated[Path, typer.Option(help="corpus and failing inputs")] = Path("runs/fuzz"),
    out: Annotated[Path | None, typer.Option(help="JSON with what was done")] = None,
    seed: Annotated[int, typer.Option(min=1, help="of the mutations")] = 1,
) -> None:
    """Feed the readers."""
    from memory import GROWTH
    from targets import TARGETS

    from splitlab.machine import environment

    rows = []
    for name in target or TARGETS:
        if name not in TARGETS:
            raise typer.BadParameter(f"--target {name!r}: known are {', '.join(TARGETS)}")
        rows.append(fuzz(name, inputs, folder, seed))
        print(json.dumps(rows[-1]), flush=True)
    total = sum(row["inputs"] for row in rows)
    failed = [row["target"] for row in rows if not row["passed"]]
    summary = {
        "format": "splitlab/fuzz/1",
        "inputs": total,
        "failed": failed,
        "memory_limit_mb": MEMORY_MB,
        "growth_limit_mb": GROWTH >> 20,
        "seconds_limit": SECONDS,
        "seed": seed,
        "targets": rows,
        "environment": environment(),
    }
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(summary, indent=1, sort_keys=True) + "\n")
    print(f"{total:,} inputs, {len(failed)} targets failed")
    raise typer.Exit(1 if failed else 0)


def fuzz(name: str, inputs: int, folder: Path, seed: int) -> dict[str, object]:
    """One target in a process of its own; what libFuzzer says of it."""
    failures = folder / f"{name}-failures"
    failures.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [
            *(sys.executable, str(HERE / "one.py"), name, str(folder / f"{name}-corpus")),
            *(f"-runs={inputs}", f"-seed={seed}", f"-rss_limit_mb={MEMORY_MB}"),
            *(f"-timeout={SECONDS}", f"-artifact_prefix={failures}/"),
            f"-max_len={LENGTHS.get(name, LENGTH)}",
            *("-print_final_stats=1", "-verbosity=1"),
        ],
        capture_output=True,
        text=True,
    )
    stats = dict(re.findall(r"stat::(\w+):\s+(\d+)", done.stderr))
    covered = re.findall(r"cov: (\d+)", done.stderr)
    if done.returncode:
        print(done.stderr[-3000:], file=sys.stderr)
    return {
        "target": name,
        "inputs": int(stats.get("number_of_executed_units", 0)),
        "per_second": int(stats.get("average_exec_per_sec", 0)),
        "peak_memory_mb": int(stats.get("peak_rss_mb", 0)),
        "covered": int(covered[-1]) if covered else 0,
        "passed": done.returncode == 0,
    }


if __name__ == "__main__":
    typer.run(main)
