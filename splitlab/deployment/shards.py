"""Which of the server's shards are at hand, which are wanted, and a server folder of some of them.

A shard is one file with some of the bodies. Every server is given the whole manifest, and thus the
digest of the whole deployment, but only the shards whose bodies it runs: no server then holds all
bodies, and none can be told from another by its digest.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from splitlab.deployment.manifest import (
    REMEDY,
    ServerManifest,
    Shard,
    read_checked,
    read_manifest,
)
from splitlab.errors import BadInput, Corrupt
from splitlab.storage import require_writable, write_bytes


def read_server_manifest(folder: Path) -> ServerManifest:
    """The manifest of a server's folder, with its digest compared and each body in one shard.

    Raises:
        Corrupt: half-written, damaged, changed, or not a server half.
    """
    manifest = read_manifest(folder, ServerManifest)
    path = folder / "deployment.json"
    if manifest.digest != manifest.computed_digest():
        raise Corrupt(path, "its digest does not fit it", REMEDY)
    if strange := [shard.file for shard in manifest.shards if Path(shard.file).name != shard.file]:
        raise Corrupt(path, f"shard {strange[0]!r} does not lie beside it", REMEDY)
    held = sorted(body for shard in manifest.shards for body in shard.bodies)
    if held != list(range(len(manifest.outputs))):
        raise Corrupt(path, f"its shards hold bodies {held}, {len(manifest.outputs)} exist", REMEDY)
    return manifest


def choose_shards(
    folder: Path, manifest: ServerManifest, bodies: Sequence[int] | None
) -> list[tuple[Shard, tuple[int, ...]]]:
    """The shards to read, and of each the bodies to take; their files are compared.

    Args:
        folder: where the shards lie.
        manifest: says which there are.
        bodies: ids of the bodies that are wanted; None for those of every shard that is there.

    Raises:
        BadInput: no body, one that the deployment does not have, or one twice.
        Corrupt: a shard that is wanted is absent, one that is there is damaged, or none is there.
    """
    if bodies is None:
        there = [shard for shard in manifest.shards if (folder / shard.file).exists()]
        if not there:
            raise Corrupt(folder, f"none of its {len(manifest.shards)} shards is there", REMEDY)
        chosen = [(shard, shard.bodies) for shard in there]
    else:
        wanted = _checked(bodies, len(manifest.outputs))
        taken = [(shard, tuple(wanted & set(shard.bodies))) for shard in manifest.shards]
        chosen = [(shard, ids) for shard, ids in taken if ids]
    for shard, _ in chosen:
        read_checked(folder / shard.file, shard.sha256)
    return chosen


def split_server(folder: Path, out: Path, bodies: Sequence[int]) -> ServerManifest:
    """Copy a server's part, these bodies and no others, into a folder of its own.

    The manifest is the same, byte for byte; it comes last, so a kill leaves no valid folder.

    Args:
        folder: a `server/` folder that has these bodies.
        out: must not hold a deployment yet.
        bodies: ids of the bodies that this server is to run.

    Raises:
        BadInput: see `choose_shards`; a shard that holds other bodies too; `out` is taken.
        Corrupt: half-written, damaged, or not a server half.
    """
    manifest = read_server_manifest(folder)
    if (out / "deployment.json").exists():
        raise BadInput(f"{out}: a deployment is there already; choose another --out")
    chosen = choose_shards(folder, manifest, bodies)
    for shard, ids in chosen:
        if others := set(shard.bodies) - set(ids):
            raise BadInput(
                f"--bodies: {shard.file} holds {named(sorted(others))} too; give all bodies of a "
                "shard to one server"
            )
    require_writable(out)
    out.mkdir(parents=True, exist_ok=True)
    for shard, _ in chosen:
        shutil.copyfile(folder / shard.file, out / shard.file)
    write_bytes(out / "deployment.json", (folder / "deployment.json").read_bytes())
    return manifest


def named(bodies: Sequence[int]) -> str:
    """Such as "body 1" or "bodies 0, 2"."""
    return f"{'body' if len(bodies) == 1 else 'bodies'} {', '.join(map(str, bodies))}"


def _checked(bodies: Sequence[int], total: int) -> set[int]:
    if not bodies:
        raise BadInput("--bodies: give at least one body")
    if unknown := [body for body in bodies if not 0 <= body < total]:
        raise BadInput(
            f"--bodies: there is no {named(unknown)}, this deployment has "
            + (f"0 to {total - 1}" if total > 1 else "body 0 alone")
        )
    if len(set(bodies)) != len(bodies):
        raise BadInput(f"--bodies {','.join(map(str, bodies))}: give each body once")
    return set(bodies)
