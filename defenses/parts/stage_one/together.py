"""Stage one of Ensembler (Liu and Xiong 2024): N networks, each with noise of its own, together.

Three ways to train them, which differ in speed and in rounding alone: each network has its own
weights, order of the images, augmentation and noise, and all of these follow from (seed, secret,
number of the network), whatever the way.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

from defenses.parts.prepare import Order, StageOneMode
from defenses.parts.stack import Stack
from defenses.parts.stage_one.members import Member, Members, train_one
from splitlab.errors import BadInput
from splitlab.storage import lock
from splitlab.training import Work, choose_device
from splitlab.training.progress import Silent

WORTH_PROCESSES = 20_000
"""Images in all, each epoch's counted; below, starting a process costs more than it saves."""


def train_together(
    order: Order, stack: Stack, count: int, how: StageOneMode | None = None
) -> list[Member]:
    """Train `count` networks that differ in weights, order of the images and noise.

    Each finished network is kept in `order.folder` and never trained again; an unfinished one goes
    on from its last epoch.

    Args:
        stack: what acts on the features, drawn anew for each network.
        how: default `order.together`. "one after another" and "processes" give the same bits where
            they have the same number of threads; "batched" (all in one `vmap`) rounds otherwise.

    Raises:
        BadInput: no network, or a way that is none.
        Mismatch, Corrupt: the folder holds another run, or a damaged file.
    """
    if count < 1:
        raise BadInput(f"{count} networks; train at least 1")
    if order.folder is None:
        return _train(order, stack, count, how)
    with lock(order.folder):  # other deployments may share these networks
        return _train(order, stack, count, how)


def _train(order: Order, stack: Stack, count: int, how: StageOneMode | None) -> list[Member]:
    members = Members(order, stack)
    done: dict[int, Member] = {}
    pending = []
    for number in range(count):
        if (found := members.finished(number)) is not None:
            done[number] = found
        else:
            pending.append(number)
    way = _choose(how or order.together, order, len(pending))
    if pending and way == "batched":
        from defenses.parts.stage_one.batched import train_batched

        done |= train_batched(order, members, pending)
    elif pending and way == "processes":
        done |= _in_processes(order, stack, members, pending)
    else:
        done |= {number: train_one(order, members, number) for number in pending}
    return [done[number] for number in range(count)]


def _choose(how: str, order: Order, count: int) -> str:
    if how not in ("auto", "one after another", "processes", "batched"):
        raise BadInput(
            f"networks trained {how!r}: wanted auto, one after another, processes or batched"
        )
    if how != "auto":
        return how
    if choose_device(order.device).type == "cuda":
        return "batched" if count > 1 else "one after another"
    images = len(order.images) * order.recipe.epochs * count
    several = count > 1 and (os.cpu_count() or 1) > 1 and images >= WORTH_PROCESSES
    if multiprocessing.parent_process() is not None:  # which has its share of the cores already
        several = False
    return "processes" if several else "one after another"


def _in_processes(
    order: Order, stack: Stack, members: Members, pending: list[int]
) -> dict[int, Member]:
    """The networks in several processes, which leave them in the folder."""
    from defenses.parts.stage_one.processes import share_out

    with ExitStack() as cleanup:
        if order.folder is None:
            place = Path(cleanup.enter_context(tempfile.TemporaryDirectory()))
            order = dataclasses.replace(order, folder=place)
            members = Members(order, stack)
        images = len(order.images) * order.recipe.epochs * len(pending)
        name = f"{len(pending)} networks"
        work: Work = (order.progress or Silent()).task(name, images)
        try:
            share_out(dataclasses.replace(order, progress=None), stack.spec, pending, work)
        finally:
            work.close()
        # A worker ends well only with its networks kept.
        found = {number: members.finished(number) for number in pending}
        return {number: one for number, one in found.items() if one is not None}
