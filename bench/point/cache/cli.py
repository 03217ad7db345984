"""`bench cache`: what runs share on this machine, listed and removed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

from splitlab.answers import AsJson, answer
from splitlab.console import guarded
from splitlab.errors import BadInput, UnknownName

if TYPE_CHECKING:
    from bench.point.cache.store import Cache, CacheEntry

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
    as_json: AsJson = False,
) -> None:
    """List what runs share, or remove some: networks of all kinds, judges, synthetic images.

    What is removed is made again when a run wants it. Records and deployments are in the runs.
    """
    from bench.point.cache.store import Cache, beside

    if folder is not None and not folder.is_dir():
        raise BadInput(f"--cache {folder}: there is no such folder; give the cache of a run")
    place = Cache(folder) if folder is not None else beside(Path("runs/default"))
    gone = _removed(place, remove or [], kind or [], remove_all)
    found = place.entries()
    document = {
        "format": "splitlab/cache/1",
        "removed": [one.as_dict() for one in gone],
        "entries": [one.as_dict() for one in found],
    }
    answer(as_json, document, *_told(found, gone))


def _removed(place: Cache, keys: list[str], kinds: list[str], everything: bool) -> list[CacheEntry]:
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


def _told(found: list[CacheEntry], gone: list[CacheEntry]) -> list[RenderableType]:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    told: list[RenderableType] = []
    if gone:
        told.append(f"removed {len(gone)}, {_size(sum(one.size for one in gone))}")
    if not found:
        return [*told, "the cache is empty"]
    table = Table(header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("kind", "key", "what", "size", "age"):
        table.add_column(name, justify="right" if name in ("size", "age") else "left")
    for one in found:
        table.add_row(one.kind, one.key, one.what, _size(one.size), _age(one.age))
    return [*told, table, f"{len(found)} entries, {_size(sum(one.size for one in found))}"]


def _size(count: int) -> str:
    return f"{count / 2**20:z.1f} MiB"


def _age(seconds: float) -> str:
    for unit, name in UNITS:
        if seconds >= unit:
            return f"{seconds / unit:z.0f} {name}"
    return f"{seconds:z.0f} s"
