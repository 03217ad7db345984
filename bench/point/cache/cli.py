"""`bench cache`: what runs share on this machine, listed and removed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splitlab.console import console, guarded
from splitlab.errors import BadInput, UnknownName

if TYPE_CHECKING:
    from bench.point.cache.store import Cache, Entry

UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))


@guarded
def cache(
    folder: Annotated[
        Path | None, typer.Option("--cache", help="Its folder; default beside runs/default.")
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option(help="Remove this entry: its key, or how that begins.")
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option("--remove-kind", help="Remove all of this kind.")
    ] = None,
    remove_all: Annotated[bool, typer.Option("--remove-all", help="Remove everything.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """List the networks, judges and synthetic images that runs share, or remove some.

    What is removed is made again when a run wants it. Records and deployments are in the runs.
    """
    from bench.point.cache.store import Cache, beside

    if folder is not None and not folder.is_dir():
        raise BadInput(f"--cache {folder}: there is no such folder; give the cache of a run")
    place = Cache(folder) if folder is not None else beside(Path("runs/default"))
    gone = _removed(place, remove or [], kind or [], remove_all)
    found = place.entries()
    if as_json:
        content = {"removed": [one.as_dict() for one in gone]}
        entries = [one.as_dict() for one in found]
        print(json.dumps({"format": "splitlab/cache/1", **content, "entries": entries}, indent=1))
        return
    _show(found, gone)


def _removed(place: Cache, keys: list[str], kinds: list[str], everything: bool) -> list[Entry]:
    """
    Raises:
        UnknownName, BadInput: a key or kind that is none, or an entry that is being made.
    """
    every = place.entries()
    known = dict.fromkeys(one.kind for one in every)
    for kind in kinds:
        if kind not in known:
            raise UnknownName("kind of entry in the cache", kind, known)
    wanted = every if everything else [one for one in every if one.kind in kinds]
    gone = list({one.folder: one for one in [*wanted, *place.named(keys)]}.values())
    place.remove(gone)
    return gone


def _show(found: list[Entry], gone: list[Entry]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    if gone:
        console.print(f"removed {len(gone)}, {_size(sum(one.size for one in gone))}")
    if not found:
        console.print("the cache is empty")
        return
    table = Table(header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("kind", "key", "what", "size", "age"):
        table.add_column(name, justify="right" if name in ("size", "age") else "left")
    for one in found:
        table.add_row(one.kind, one.key, one.what, _size(one.size), _age(one.age))
    console.print(table)
    console.print(f"{len(found)} entries, {_size(sum(one.size for one in found))}")


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"


def _age(seconds: float) -> str:
    for unit, name in UNITS:
        if seconds >= unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"
