"""The pages a user reads, and what stands in them: commands, links, headings, figures."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROLES = {
    "bench": "bench.cli",
    "edge-client": "edge_client.cli",
    "cloud-server": "cloud_server.cli",
    "adversary": "adversary.cli",
}
TOOLS = ("make", "pip", "python")
SHELL = ("cd", "export", "git", "mkdir", "openssl", "source", "umask")
"""Words of other people's, which no test tries."""
_SHELLS = ("", "bash", "console", "sh", "shell")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})\s*([\w+-]*)[^`]*")
_INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)")


def pages(root: Path = ROOT) -> list[Path]:
    """README, CONTRIBUTING, all of docs/, and the README of each example."""
    return [
        root / "README.md",
        root / "CONTRIBUTING.md",
        *sorted((root / "docs").rglob("*.md")),
        *sorted((root / "examples").rglob("README.md")),
    ]


@dataclass(frozen=True)
class Block:
    """Lines of code as they stand, without the fence or the indentation of four."""

    language: str
    lines: tuple[str, ...]


def blocks(text: str) -> list[Block]:
    """Fenced and indented code, in order."""
    return [block for block, _ in _parts(text) if block is not None]


def prose(text: str) -> str:
    """What is no block of code."""
    return "\n".join(line for block, line in _parts(text) if block is None)


def _parts(text: str) -> Iterator[tuple[Block | None, str]]:
    """(block, "") and (None, line of prose) in turn."""
    lines = text.splitlines()
    at, after_blank = 0, True
    while at < len(lines):
        line = lines[at]
        if fence := _FENCE.fullmatch(line):
            end = at + 1
            while end < len(lines) and not _closes(lines[end], fence[1]):
                end += 1
            yield Block(fence[2].lower(), tuple(lines[at + 1 : end])), ""
            at, after_blank = end + 1, True
        elif after_blank and line.startswith("    "):
            end = at
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            yield Block("", tuple(one[4:] for one in lines[at:end])), ""
            at = end
        else:
            yield None, line
            after_blank = not line.strip()
            at += 1


def _closes(line: str, fence: str) -> bool:
    shut = line.strip()
    return len(shut) >= len(fence) and set(shut) == {fence[0]}


def commands(text: str) -> list[list[str]]:
    """Words of each command in the blocks of a shell.

    A block without a language is one of a shell where a line of it begins with a command; else it
    is a drawing or a file.
    """
    found = []
    for block in blocks(text):
        lines = re.sub(r"\\\n\s*", "", "\n".join(block.lines)).splitlines()
        own = [words for line in lines for words in simple(line)] if _may(block, lines) else []
        found += own if any(words[0] in (*ROLES, *TOOLS) for words in own) else []
    return found


def _may(block: Block, lines: list[str]) -> bool:
    first = [line.lstrip(" ($").split(" ")[0] for line in lines]
    return block.language in _SHELLS and any(word in (*ROLES, *TOOLS) for word in first)


def simple(line: str) -> list[list[str]]:
    """ "(umask 077; make sweep > log)" -> [["umask", "077"], ["make", "sweep"]]."""
    lexer = shlex.shlex(line.strip().removeprefix("$ "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    skip = False
    for word in lexer:
        if set(word) <= set("();|&"):
            found.append([])
        elif set(word) <= set("<>"):
            skip = True
        elif skip:
            skip = False
        elif found[-1] or not re.fullmatch(r"[A-Za-z_]\w*=.*", word):  # no VARIABLE=value before
            found[-1].append(word)
    return [words for words in found if words]


def mentioned(text: str) -> list[list[str]]:
    """Words of what stands between backticks in prose and begins with a role or `make`."""
    found = []
    for inside in _INLINE.findall(prose(text)):
        words = inside.replace("\n", " ").split()
        if len(words) > 1 and words[0] in (*ROLES, "make") and "|" not in words:
            found.append(words)
    return found


def alone(text: str) -> list[str]:
    """Flags between backticks in prose that stand there without their command."""
    spans = (inside.split() for inside in _INLINE.findall(prose(text)))
    return [words[0] for words in spans if words and words[0].startswith("--")]


def links(text: str) -> list[str]:
    """Where the links and pictures in prose lead."""
    return _LINK.findall(_INLINE.sub("", prose(text)))


def anchors(text: str) -> set[str]:
    """Names by which the headings can be linked to, as GitHub makes them."""
    count: Counter[str] = Counter()
    found = set()
    for line in prose(text).splitlines():
        if heading := re.fullmatch(r" {0,3}#{1,6}\s+(.*?)(?:\s+#+)?\s*", line):
            shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading[1].replace("`", ""))
            name = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
            found.add(f"{name}-{count[name]}" if count[name] else name)
            count[name] += 1
    return found


def table_under(text: str, heading: str) -> list[list[str]]:
    """Cells of the first table behind a heading, without its head.

    Raises:
        ValueError: no such heading, or no table behind it.
    """
    behind = text.split(f"\n{heading}\n", 1)
    if len(behind) < 2:
        raise ValueError(f"no heading {heading!r}")
    rows = re.search(r"^\|.*\n\|[-|: ]+\n((?:\|.*\n)+)", behind[1], re.M)
    if rows is None:
        raise ValueError(f"no table behind {heading!r}")
    return [
        [cell.strip() for cell in row.strip().strip("|").split("|")] for row in rows[1].splitlines()
    ]
