"""Deployments on disk: how one is made, whether it is whole, what it answers undefended."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import defenses
from bench.point.identity.config import PointConfig
from bench.point.packages import of_deployment
from bench.point.recipe import Networked
from bench.point.victim import Victim, prepare_halves
from bench.point.weights import basis
from splitlab.data import ImageSet, Splits
from splitlab.deployment import ClientHalf, ServerHalf, write_deployment
from splitlab.errors import BadInput, Corrupt
from splitlab.pieces import in_pieces
from splitlab.randomness import Secret
from splitlab.split import Part, part_state
from splitlab.storage import read_json, write_json
from splitlab.training import Progress

ROWS = 256
MADE_OF = "made of"
"""In `training.json` of a place."""
REMEDY = "move it away, or choose another --out"


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
    weights: Path | None = None,
    made_of: Mapping[str, Any] | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train with the defences, or cut `victim`, and write both halves into `folder`.

    Args:
        trained: folder of what is trained for this stack; None where nothing is kept.
        facts: file for what is returned; written first, so that no deployment is without them.
        weights: what training with a defence begins from; see `prepare_halves`.
        made_of: kept with them, for whoever asks whether it is the deployment that is wanted.

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
        weights=weights,
        device=device,
        progress=progress,
    )
    told = {**halves.facts, **({"network": victim.facts} if victim is not None else {})}
    noted = {MADE_OF: dict(made_of)} if made_of is not None else {}
    write_json(facts, {**told, **noted}, private=True)
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
    """Whether `folder` holds two finished halves; what a kill left half written is removed.

    A finished deployment is evidence of what was captured from it: nothing removes that.

    Raises:
        Corrupt: finished halves that are damaged, or are of two deployments.
        SplitLabError: their network or defence cannot be had here.
    """
    if not all((folder / half / "deployment.json").exists() for half in ("client", "server")):
        shutil.rmtree(folder, ignore_errors=True)
        return False
    client = ClientHalf.load(folder / "client", defenses.parse_file)
    server = ServerHalf.load(folder / "server")
    if client.digest != server.digest or len(server.bodies) != len(client.outputs):
        raise Corrupt(folder, "client and server are halves of two deployments", REMEDY)
    return True


def made_of(config: PointConfig, splits: Splits) -> dict[str, Any]:
    """What a deployment depends on and does not say of itself; kept beside it."""
    return {
        "basis": basis(config, splits),
        "learned with": config.train_with_defense,
        "packages": of_deployment(config.packages),
    }


def require_same(place: Path, config: PointConfig, splits: Splits) -> None:
    """
    Raises:
        BadInput: the deployment in `place` was made for other data, another defence, cut or wire,
            of another network, or with other code of the defence.
    """
    folder, stack = place / "deployment", defenses.parse(config.defense)
    kept = ClientHalf.load(folder / "client", defenses.parse_file).manifest
    there = kept.victims_hash or splits.victims.hash
    if there != splits.victims.hash or kept.defense != stack.spec:
        raise BadInput(f"{folder} was made for other data or another defence; choose another --out")
    arch = stack.architecture(config.arch(len(splits.classes)))
    variants = {"variants": arch.variants}  # phases of a training may have changed them
    wanted = made_of(config, splits)
    was = {"packages": {}, **_told(place)}  # nothing before there was such a note
    pairs = {
        "split point": (kept.head_end, config.split),
        "tail": (kept.tail_start, config.tail_start),
        "wire": (kept.wire, config.wire),
        "network": (kept.arch.model_copy(update=variants), arch),
        "packages": (was["packages"], wanted["packages"]),
        **{name: (was.get(name, wanted[name]), wanted[name]) for name in ("basis", "learned with")},
    }
    for name, (before, now) in pairs.items():
        if before == now:
            continue
        told = NOT_TOLD.get(name) or f"another {name} ({before} there, {now} here)"
        raise BadInput(f"{folder} was made with {told}; choose another --out")


NOT_TOLD = {
    "basis": "other data, weights or settings of the training",
    "learned with": "another --train-with-defense",
    "network": "another network",
}
"""Where the two values say nothing to a reader."""


def _told(place: Path) -> dict[str, Any]:
    try:
        found = read_json(place / "training.json").get(MADE_OF, {})
    except Corrupt:
        return {}
    return dict(found)
