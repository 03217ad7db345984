"""Rows and example sentences of the experiment on text, as a Markdown file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from splitlab.metrics.words import RARER_WORDS_READ, SENTENCES_READ, WORDS_READ
from splitlab.storage import write_bytes

HEADINGS = (
    "defence",
    "attack",
    WORDS_READ.title,
    "interval",
    RARER_WORDS_READ.title,
    SENTENCES_READ.title,
    "words translated",
)


def write_table(
    path: Path, rows: Sequence[dict[str, Any]], examples: Sequence[dict[str, str]]
) -> None:
    """Write the numbers, then the paper's five columns (its Table 4) for a few victims."""
    lines = [
        "# Text: what is read from private embeddings",
        "",
        *_table(HEADINGS, map(cells, rows)),
    ]
    for row in rows:
        lines += [f"- {row['defense']}, {row['attack']}: {d}" for d in row.get("doubts", [])]
    lines += ["", *(f"- {claim}" for claim in claims(rows))]
    if examples:
        body = [[f"{text}" for text in example.values()] for example in examples]
        lines += ["", "## A few sentences", "", *_table(tuple(examples[0]), body)]
    write_bytes(path, ("\n".join(lines) + "\n").encode())


def claims(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What the paper says, and whether it is so here, for every defence that was measured."""
    said = []
    for defense in dict.fromkeys(row.get("defense", "") for row in rows):
        read = {
            row["attack"]: row["recovery"]
            for row in rows
            if row.get("defense") == defense and "skipped" not in row
        }
        shadow, client = (read.get(f"shadow, on {who} features") for who in ("shadow", "client"))
        if shadow is None or client is None:
            continue
        holds = "holds" if shadow >= 90 and client <= shadow / 2 else "does not hold"
        said.append(
            f"{defense}: the paper's decoder reads the shadow's features and not the client's: "
            f"{holds} ({WORDS_READ.told(shadow)} and {WORDS_READ.told(client)})"
        )
        ciphers = [rate for attack, rate in read.items() if attack.startswith("cipher")]
        if ciphers:
            kept = "holds" if max(ciphers) <= 1.5 * read["floor"] else "does not hold"
            said.append(
                f"{defense}: text cannot be read without queries: {kept} (the cipher reads "
                f"{WORDS_READ.told(max(ciphers))}, the floor {WORDS_READ.told(read['floor'])})"
            )
    return said


def cells(row: dict[str, Any]) -> list[str]:
    """One line of the table; a row that could not be measured says why."""
    if "skipped" in row:
        names = [row.get("defense", ""), row.get("attack", "")]
        return [*names, f"skipped ({row['skipped']})", *[""] * 4]
    between = _between(row["low"], row["high"])
    return [
        row["defense"],
        row["attack"],
        WORDS_READ.told(row["recovery"]),
        between,
        "" if row["rarer_words"] is None else RARER_WORDS_READ.told(row["rarer_words"]),
        SENTENCES_READ.told(row["whole_sentences"]),
        f"{row['accuracy_words']:z.1f} %",
    ]


def _between(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return ""
    return f"{WORDS_READ.number(low)} to {WORDS_READ.told(high)}"


def _table(headings: Sequence[str], body: Any) -> list[str]:
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    return lines + ["| " + " | ".join(cells) + " |" for cells in body] + [""]
