"""Sentences that were sent, and what was read of them: lines of text as SVG, wrong words in red."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import zip_longest
from pathlib import Path

from splitlab.storage import write_bytes

LINE, LETTER = 17, 7.3
"""Height of a line and width of a letter, in pixels."""
WRONG = "#b3261e"


def sentences_svg(sent: Sequence[Sequence[str]], read: Sequence[str]) -> str:
    """An `<svg>` of a group of lines for each: what was sent, what is beside it, the guess.

    Args:
        sent: of each, the sentence and whatever is shown beside it.
        read: of each, word by word at its place.
    """
    lines: list[str] = []
    for truth, guess in zip(sent, read, strict=True):
        lines += [*map(escape, truth), _marked(truth[0], guess), ""]
    longest = max((len(line) for group in (*sent, read) for line in group), default=0)
    drawn = "".join(
        f'<text x="4" y="{LINE * number}">{line}</text>'
        for number, line in enumerate(lines, 1)
        if line
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LETTER * longest + 8:z.0f}" '
        f'height="{LINE * len(lines)}" font-family="monospace" font-size="12">{drawn}</svg>'
    )


def _marked(truth: str, guess: str) -> str:
    """The guess in bold, with each word that stands for another in red."""
    pairs = zip_longest(truth.split(), guess.split())
    words = [
        escape(word) if word == true else f'<tspan fill="{WRONG}">{escape(word)}</tspan>'
        for true, word in pairs
        if word is not None
    ]
    return f'<tspan font-weight="bold">{" ".join(words)}</tspan>'


def save_sentences(path: Path, sent: Sequence[Sequence[str]], read: Sequence[str]) -> None:
    """Write the lines of one point, atomically."""
    write_bytes(path, sentences_svg(sent, read).encode())
