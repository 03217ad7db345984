"""What was left out or changed while images were read: counts, first names, reasons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

FIRST = 3
"""Names that a note shows of each reason."""


class Tally:
    """Reason -> how many files, and the first names of them."""

    def __init__(self, kept: Mapping[str, tuple[int, list[str]]] | None = None) -> None:
        self.kept = {
            reason: (count, list(names)) for reason, (count, names) in (kept or {}).items()
        }

    def add(self, reason: str, *names: str) -> None:
        """`names` stand under `reason`."""
        count, first = self.kept.get(reason, (0, []))
        shown = sorted({*first, *names})[:FIRST]
        self.kept[reason] = (count + len(names), shown)

    def joined(self, other: Tally) -> Tally:
        """Both in one; the same reason adds up."""
        both = Tally(self.kept)
        for reason, (count, names) in other.kept.items():
            known, first = both.kept.get(reason, (0, []))
            both.kept[reason] = (known + count, sorted({*first, *names})[:FIRST])
        return both

    def notes(self) -> tuple[str, ...]:
        """One line a reason: "left out, links that lead nowhere: 2 (a/x.png, b/y.png)"."""
        return tuple(
            f"{reason}: {count} ({listed(names, count)})"
            for reason, (count, names) in sorted(self.kept.items())
        )


def listed(names: Iterable[str], count: int | None = None, most: int = FIRST) -> str:
    """The first names with commas, and `...` where there are more."""
    known = list(names)
    more = ", ..." if (count or len(known)) > min(len(known), most) else ""
    return ", ".join(known[:most]) + more
