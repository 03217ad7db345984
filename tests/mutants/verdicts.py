"""What mutmut wrote of each mutant, and why those that live may live."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from pathlib import Path

FOLDER = Path("mutants")
REASONS = Path(__file__).with_name("reasons.toml")
WORDS = {
    None: "not tried",
    2: "not tried",  # stopped meanwhile
    0: "survived",
    1: "killed",
    3: "killed",
    5: "no tests",
    33: "no tests",
    24: "timeout",
    -24: "timeout",
    36: "timeout",
    152: "timeout",
    255: "timeout",
    -9: "timeout",
    -11: "killed",  # the process itself fell
}
"""Exit code of the tests -> verdict, as mutmut reads them."""


def read_verdicts() -> dict[str, dict[str, str]]:
    """File -> mutant -> verdict."""
    found = {}
    for path in sorted(FOLDER.rglob("*.py.meta")):
        codes = json.loads(path.read_text())["exit_code_by_key"]
        name = str(path.relative_to(FOLDER).with_suffix(""))
        found[name] = {key: WORDS.get(code, "suspicious") for key, code in codes.items()}
    return found


def survivors(found: dict[str, dict[str, str]]) -> dict[str, str]:
    """Mutant -> verdict, of those that no test noticed."""
    return {
        mutant: verdict
        for verdicts in found.values()
        for mutant, verdict in verdicts.items()
        if verdict in ("survived", "no tests", "suspicious")
    }


def explained(left: dict[str, str]) -> list[dict[str, str]]:
    """Each survivor with its change and its reason, "" where none is known."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    reasons = tomllib.loads(REASONS.read_text())["reason"]
    return [
        {
            "mutant": mutant,
            "verdict": left[mutant],
            "change": (change := changed_lines(get_diff_for_mutant(mutant))),
            "why": why(place_of(mutant), change, reasons),
        }
        for mutant in sorted(left)
    ]


def why(place: str, change: str, reasons: list[dict[str, str]]) -> str:
    """The first reason whose `where` is found in the place and whose `change` in the change."""
    for reason in reasons:
        there = re.search(reason.get("where", ""), place)
        if there and re.search(reason.get("change", ""), change):
            return reason["why"]
    return ""


def place_of(mutant: str) -> str:
    """ "a.b.xǁRecordǁread__mutmut_3" -> "a.b.Record.read": numbers change, functions stay."""
    module, _, name = mutant.rpartition(".")
    name = name.partition("__mutmut_")[0]
    return f"{module}.{name.removeprefix('x_').removeprefix('xǁ').replace('ǁ', '.')}"


def changed_lines(diff: str) -> str:
    """The lines that a mutant takes away and puts in."""
    lines = [line for line in diff.splitlines() if line[:1] in ("-", "+")]
    return "\n".join(line for line in lines if line[:3] not in ("---", "+++"))


def counted(verdicts: list[str]) -> dict[str, int]:
    """How many were made, and what became of them; a test that never ends noticed as well."""
    number = Counter(verdicts)
    return {
        "made": len(verdicts),
        "killed": number["killed"],
        "killed by time": number["timeout"],
        "survived": number["survived"] + number["no tests"] + number["suspicious"],
        "not tried": number["not tried"],
    }
