"""Stage one of Ensembler (Liu and Xiong 2024): N networks, each with noise of its own, together.

Three ways to train them, which differ in speed and in rounding alone: each network has its own
weights, order of the images, augmentation and noise, and all of these follow from (seed, secret,
number of the network), whatever the way.
"""

from __future__ import annotations

import copy
import dataclasses
import multiprocessing
import os
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from defenses.parts.kept import Kept, load_tensors, tensors_of
from defenses.parts.prepare import Order, Together
from defenses.parts.stack import Stack, protect
from splitlab.errors import BadInput
from splitlab.models import build
from splitlab.randomness import FreeDraw, generator
from splitlab.split import Part, Parts, load_part_state, part_state
from splitlab.storage import lock
from splitlab.training import Batch, Loss, State, Work, choose_device, fit
from splitlab.training.progress import Silent

WORTH_PROCESSES = 20_000
"""Images in all, each epoch's counted; below, starting a process costs more than it saves."""


@dataclass(frozen=True)
class Trained:
    """One finished network of stage one, in eval mode on the CPU."""

    head: Part
    body: Part
    tail: Part
    protectors: nn.ModuleList
    facts: dict[str, Any]


@dataclass(frozen=True)
class Member:
    """One network before or while it is trained.

    Args:
        number: 0 to N-1.
        parts: in train mode; layers that are modules (dropout, batch norm) act as in training.
        protectors: noise of its own, from the secret.
    """

    number: int
    parts: Parts
    protectors: nn.ModuleList

    def modules(self) -> dict[str, nn.Module]:
        """By the names under which their tensors are kept."""
        named: dict[str, nn.Module] = dict(self.parts._asdict())
        return {**named, "protectors": self.protectors}

    def finished(self, facts: dict[str, Any]) -> Trained:
        for module in self.modules().values():
            module.to("cpu").eval()
        return Trained(*self.parts, self.protectors, facts)

    def order(self, rows: int, rng: torch.Generator) -> Tensor:
        """int64 [rows]: the order of one epoch, which `rng` stands for; as a `Sampler`."""
        own = generator(rng.initial_seed(), "network", self.number)
        return torch.randperm(rows, generator=own)

    def generators(self) -> dict[str, torch.Generator]:
        """Augmentation and fresh noise, by names that `fit` seeds alike in every way to train."""
        return {f"{what} {self.number}": torch.Generator() for what in ("augment", "draw")}


class Members:
    """Makes members; the network is traced once.

    Args:
        stack: what acts on the features; stage one knows nothing of N, P or the loss of stage two,
            so that its networks serve other choices of these.
    """

    def __init__(self, order: Order, stack: Stack) -> None:
        self._order, self._stack = order, stack
        self._template = order.cut(build(order.arch, seed=0))

    def make(self, number: int) -> Member:
        """The untrained network `number`."""
        order = self._order
        seed = generator(order.seed, "stage one", number).initial_seed()
        state = build(order.arch, seed=seed).net.state_dict()
        parts = Parts(*(copy.deepcopy(part) for part in self._template))
        for part in parts:
            load_part_state(part, {name: state[name] for name in part_state(part)})
            part.train()
        secret = order.secret.derive("stage one", number)
        protectors = self._stack.protectors(parts.head.output_shape, secret)
        return Member(number, parts, protectors.train())

    def kept(self, number: int) -> Kept:
        """Where the finished network `number` is kept."""
        run = {**self._order.run(self._stack), "network": number}
        return Kept(self._order.folder, f"network-{number}", run)


def train_together(
    order: Order, stack: Stack, count: int, how: Together | None = None
) -> list[Trained]:
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


def _train(order: Order, stack: Stack, count: int, how: Together | None) -> list[Trained]:
    members = Members(order, stack)
    done: dict[int, Trained] = {}
    pending = []
    for number in range(count):
        if (found := members.kept(number).read()) is not None:
            member = members.make(number)
            load_tensors(member.modules(), found[0])
            done[number] = member.finished(found[1])
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


def train_one(order: Order, members: Members, number: int) -> Trained:
    """Train network `number` in this process and keep it."""
    member = members.make(number)
    recipe, device = order.recipe, choose_device(order.device)
    modules, generators = member.modules(), member.generators()
    trained = [p for module in modules.values() for p in module.parameters()]
    for module in modules.values():
        module.to(device)
    optimizer = recipe.optimizer(trained)
    augment_rng, draw_rng = generators.values()

    def step(_state: State, batch: Batch) -> dict[str, Loss]:
        images = recipe.augment(batch.images, augment_rng) if recipe.augment else batch.images
        feature = protect(member.protectors, member.parts.head(images), FreeDraw(draw_rng))
        logits = member.parts.tail(member.parts.body(feature))
        smoothing = recipe.label_smoothing
        return {"net": F.cross_entropy(logits, batch.labels, label_smoothing=smoothing)}

    kept = members.kept(number)
    history = fit(
        step,
        State(
            modules,
            {"net": optimizer},
            {"net": recipe.scheduler(optimizer, len(order.images))},
            {},
            generators,
        ),
        order.images,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        seed=order.seed,
        device=device,
        sampler=member.order,
        checkpoint=kept.checkpoint,
        progress=order.progress,
        name=f"network {number}",
    )
    facts = {
        "losses": history.losses.get("net", []),
        "seconds": round(history.seconds, 2),
        "images_per_second": round(history.images_per_second, 1),
    }
    finished = member.finished(facts)
    kept.write(tensors_of(member.modules()), facts)
    return finished


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
) -> dict[int, Trained]:
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
        found = {}
        for number in pending:
            kept = members.kept(number).read()
            assert kept is not None  # a worker ends well only with its networks kept
            member = members.make(number)
            load_tensors(member.modules(), kept[0])
            found[number] = member.finished(kept[1])
        return found
