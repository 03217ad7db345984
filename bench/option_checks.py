"""What options of `bench` are asked before a command begins: folders, files, names of attacks."""

from __future__ import annotations

from pathlib import Path

from bench import flag_words
from splitlab import known_names
from splitlab.console import guarded
from splitlab.errors import BadInput


@guarded
def writable(out: Path | None) -> Path | None:
    """Before minutes are spent on what could not be kept."""
    if out is not None:
        from splitlab.storage import require_writable

        require_writable(out.parent)
        if out.is_dir():
            raise BadInput(f"--out {out} is a folder; name a file")
    return out


@guarded
def folder(cache: Path | None) -> Path | None:
    if cache is not None:
        from splitlab.storage import require_writable

        require_writable(cache)
    return cache


@guarded
def settings(items: list[str] | None) -> list[str] | None:
    for name in flag_words.chosen_attacks((), items or ())[1]:
        known_names.require_attack(name)
    return items


@guarded
def attacks(items: list[str] | None) -> list[str] | None:
    for name in flag_words.chosen_attacks(items or ())[0]:
        known_names.require_attack(name)
    return items
