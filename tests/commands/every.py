"""Every command of every role, as its command line has it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

ROOT = Path(__file__).resolve().parents[2]
ROLES = {
    "bench": "bench.cli",
    "edge-client": "edge_client.cli",
    "cloud-server": "cloud_server.cli",
    "adversary": "adversary.cli",
}


def app(role: str) -> Any:
    return importlib.import_module(ROLES[role]).app


def every() -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """(role, words, command) of each, groups too."""
    for role in ROLES:
        yield from ((role, words, one) for words, one in _below(get_command(app(role)), ()))


def _below(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield words, command
    for name, below in getattr(command, "commands", {}).items():
        yield from _below(below, (*words, name))


def options(command: Any) -> list[Any]:
    return [one for one in command.params if one.param_type_name == "option"]
