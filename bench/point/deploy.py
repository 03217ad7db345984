"""Deployments on disk: how one is made, whether it is whole, what it answers undefended."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import defenses
from bench.point.recipe import Networked
from bench.point.victim import Victim, prepare_halves
from splitlab.data import ImageSet, Splits
from splitlab.deployment import ClientHalf, ServerHalf, write_deployment
from splitlab.errors import BadInput, NotImported, SplitLabError
from splitlab.pieces import in_pieces
from splitlab.randomness import Secret
from splitlab.split import Part, part_state
from splitlab.storage import write_json
from splitlab.training import Progress

ROWS = 256


def deploy(
    folder: Path,
    config: Networked,
    splits: Splits,
    stack: defenses.Stack,
    head_end: str,
    secret: Secret,
    *,
    trained: Path | None,
    facts: Path,
    victim: Victim | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train with the defences, or cut `victim`, and write both halves into `folder`.

    Args:
        trained: folder of what is trained for this stack; None where nothing is kept.
        facts: file for what is returned; written first, so that no deployment is without them.

    Returns:
        how the halves were trained, the undefended network's facts, and the deployment's digest.
    """
    halves = prepare_halves(
        trained,
        config,
        splits,
        stack,
        head_end,
        secret,
        victim=victim,
        device=device,
        progress=progress,
    )
    told = {**halves.facts, **({"network": victim.facts} if victim is not None else {})}
    write_json(facts, told, private=True)
    digest = write_deployment(
        folder,
        halves,
        defended=stack,
        wire=config.wire,
        classes=splits.classes,
        folders=splits.folders,
        secret=secret,
        victims_hash=splits.victims.hash,
    )
    return {**told, "digest": digest}


@torch.inference_mode()
def undefended(folder: Path, images: ImageSet, victim: Victim | None = None) -> Tensor:
    """Logits [N, classes] in this process, with no noise, no dropout and no wire in between.

    Where the halves are cut from `victim` these are the logits of the undivided network; else, as
    with several bodies, those of head, bodies, selector and tail one after another.
    """
    client = ClientHalf.load(folder / "client", defenses.parse_file)
    bodies = ServerHalf.load(folder / "server").bodies
    pixels = images.floats("cpu")
    if victim is not None and _is_cut_from(victim, [client.head, *bodies, client.tail]):
        return in_pieces(victim.net, pixels, ROWS)

    def through(piece: Tensor) -> Tensor:
        feature = client.head(piece)
        logits: Tensor = client.tail(client.selector([body(feature) for body in bodies]))
        return logits

    return in_pieces(through, pixels, ROWS)


def _is_cut_from(victim: Victim, modules: list[torch.nn.Module]) -> bool:
    """Whether the modules are head, one body and tail of `victim`, with its very weights."""
    state = victim.net.net.state_dict()
    parts = [module for module in modules if isinstance(module, Part)]
    held = [item for part in parts for item in part_state(part).items()]
    return len(modules) == 3 and all(
        name in state and torch.equal(state[name], value) for name, value in held
    )


def whole(folder: Path) -> bool:
    """Whether `folder` holds two halves that load and belong together; what does not is removed.

    For runs that continue after a kill: a half-written deployment is made again.
    """
    try:
        client = ClientHalf.load(folder / "client", defenses.parse_file)
        server = ServerHalf.load(folder / "server")
        if client.digest == server.digest and len(server.bodies) == len(client.outputs):
            return True
    except NotImported:
        raise  # nothing is wrong with it
    except SplitLabError:
        pass
    shutil.rmtree(folder, ignore_errors=True)
    return False


def require_same(folder: Path, stack: defenses.Stack, splits: Splits) -> None:
    """
    Raises:
        BadInput: the deployment in `folder` was made for other data or another defence.
    """
    kept = ClientHalf.load(folder / "client", defenses.parse_file).manifest
    there = kept.victims_hash or splits.victims.hash
    if there != splits.victims.hash or kept.defense != stack.spec:
        raise BadInput(f"{folder} was made for other data or another defence; choose another --out")
