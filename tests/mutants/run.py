"""Break the core on purpose and ask the unit tests: `python tests/mutants/run.py`.

mutmut makes the mutants and forks a process for each; what is broken, and which tests are asked,
stands under `[tool.mutmut]` in pyproject.toml. Its folder `mutants/` keeps every verdict, so that a
run that was stopped goes on, and a function that changes is tried anew. A survivor is either killed
by a test or has its reason in `reasons.toml`; the exit code is 1 where one has neither.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT)]


def main(
    again: Annotated[bool, typer.Option(help="try the survivors anew, with new tests")] = False,
    report: Annotated[bool, typer.Option(help="try nothing, only count what was tried")] = False,
    workers: Annotated[int, typer.Option(min=1, help="mutants at once")] = 2,
    out: Annotated[Path | None, typer.Option(help="JSON with what became of them")] = None,
) -> None:
    """Try every mutant that has no verdict yet."""
    from verdicts import explained, read_verdicts, survivors

    from splitlab.machine import environment

    machine = environment()
    machine["versions"] |= {name: version(name) for name in ("mutmut", "pytest", "hypothesis")}

    os.chdir(ROOT)
    if not report:
        names = sorted(survivors(read_verdicts())) if again else []
        if not again or names:
            mutmut(workers, names)
    found = read_verdicts()
    if not found:
        raise typer.BadParameter("there are no mutants yet; run it without --report or --again")
    left = explained(survivors(found))
    summary = summarised(found, left, machine)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(summary, indent=1, sort_keys=True, ensure_ascii=False)
        out.write_text(text + "\n")
    total = summary["total"]
    print(", ".join(f"{count:,} {word}" for word, count in total.items()))
    unexplained = [one for one in left if not one["why"]]
    for one in unexplained:
        print(f"\n{one['mutant']} ({one['verdict']})\n{one['change']}")
    raise typer.Exit(1 if unexplained or total["not tried"] else 0)


def mutmut(workers: int, names: list[str]) -> None:
    """Run it on `names`, or on all that have no verdict where there are none.

    `PYTHONPATH` would bring the sound code back in front of the broken one.
    """
    surroundings = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    surroundings |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(workers), *names]
    done = subprocess.run(command, env=surroundings, check=False)
    if done.returncode:
        raise typer.Exit(done.returncode)


def summarised(
    found: dict[str, dict[str, str]], left: list[dict[str, str]], machine: dict[str, Any]
) -> dict[str, Any]:
    """Counts by file and in all, the survivors with their reasons, and what it was run on."""
    from verdicts import counted

    files = {file: counted(list(verdicts.values())) for file, verdicts in sorted(found.items())}
    every = [verdict for verdicts in found.values() for verdict in verdicts.values()]
    return {
        "format": "splitlab/mutants/1",
        "files": files,
        "total": counted(every),
        "survivors": left,
        "environment": machine,
    }


if __name__ == "__main__":
    typer.run(main)
