"""A text of a batch size: harmless in a message, refused where a course may follow it."""

from __future__ import annotations

import ast
import functools
import linecache
import sys
from types import FrameType
from typing import Any

from splitlab.errors import NotCuttable

# Where texts are made of what somebody shows, or of a library's own words.
_LIBRARIES = ("logging.", "warnings.", "traceback.", "torch.", "torchvision.", "timm.")
_SHOWING = frozenset(
    {"print", "warn", "debug", "info", "warning", "error", "exception", "critical", "log"}
    | {"_assert", "_check", "_check_is_size", "_check_value"}
)
_OWN = ("splitlab.split.limits.texts", "splitlab.split.limits.batch_size")
_Place = tuple[int | None, int | None]


def refuse_text(where: str) -> None:
    """
    Raises:
        NotCuttable: the code that makes a text of a batch size at this moment may compare it.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") in _OWN:
        frame = frame.f_back
    if frame is None or f"{frame.f_globals.get('__name__')}.".startswith(_LIBRARIES):
        return
    if not _only_shown(frame):
        raise NotCuttable(
            f"{where or 'the network'}: it makes a text of the batch size (line {frame.f_lineno} "
            f"of {frame.f_code.co_filename}) and may take another course for other batch sizes; "
            "such a network cannot be cut, unless the text is written inside a print, log, "
            "warning, raise or assert"
        )


def _only_shown(frame: FrameType) -> bool:
    """Whether the statement that runs in `frame` shows a text, and nothing else can read it."""
    line, _, column, _ = list(frame.f_code.co_positions())[frame.f_lasti // 2]
    lines = tuple(linecache.getlines(frame.f_code.co_filename, frame.f_globals))
    found = [node for node in _statements(lines) if _holds(node, (line, column))]
    if not found:
        return False
    statement = max(found, key=lambda node: (node.lineno, node.col_offset))
    if isinstance(statement, ast.Assert):
        return statement.msg is not None and _holds(statement.msg, (line, column))
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        called = statement.value.func
        name = getattr(called, "attr", getattr(called, "id", ""))
        return name in _SHOWING
    return isinstance(statement, ast.Raise)


@functools.lru_cache(maxsize=8)
def _statements(lines: tuple[str, ...]) -> list[ast.stmt]:
    """Every statement of a file; none where it cannot be read."""
    try:
        tree = ast.parse("".join(lines))
    except (SyntaxError, ValueError):
        return []
    return [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]


def _holds(node: Any, place: _Place) -> bool:
    """Whether `place` (line, column) lies in a node."""
    if place[0] is None or place[1] is None:
        return False
    start, end = (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)
    return bool(start <= place < end)
