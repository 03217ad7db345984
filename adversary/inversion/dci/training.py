"""Divide and conquer (Dong et al., DCI, section 3.1 and Appendix B.1): inverse modules one block
after another, each first alone (phase A) and then together with those before it (phase B).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from adversary.contract.workplace import ALONE, Workplace
from adversary.inversion.dci.chain import Block
from adversary.inversion.dci.lessons import Lessons
from adversary.inversion.dci.shelf import Shelf
from splitlab.training import Batch, Loss, State, TensorSource, batch_count


@dataclass(frozen=True)
class InverseSchooling:
    """
    Args:
        epochs, rate: of phase A.
        tune_epochs, tune_rate: of phase B; with 0 epochs it is left out.
        layer, image, cycle: weights of the three losses.
        whole_cycle: whether the cycle's loss goes on to u_L, as in equation 3, or ends at u_k.
    """

    epochs: int
    rate: float
    tune_epochs: int
    tune_rate: float
    batch_size: int
    layer: float
    image: float
    cycle: float
    whole_cycle: bool


def losses(
    inverses: Sequence[nn.Module],
    blocks: Sequence[Block],
    levels: Sequence[Tensor],
    seen: Tensor,
    schooling: InverseSchooling,
) -> Tensor:
    """L_layer + L_img + L_cyc for the last of `inverses`; each norm a mean over elements.

    Args:
        inverses: F_1^-1 to F_k^-1.
        levels: u_0 to u_L of a batch.
        seen: u_k as it is inverted.
    """
    k = len(inverses)
    found = inverses[-1](seen)
    total = schooling.layer * F.l1_loss(found, levels[k - 1])
    for inverse in reversed(inverses[:-1]):
        found = inverse(found)
    total = total + schooling.image * F.l1_loss(found, levels[0])
    if schooling.cycle:
        again = found
        for number, block in enumerate(blocks[: len(blocks) if schooling.whole_cycle else k]):
            again = block.module(again)
            total = total + schooling.cycle * F.l1_loss(again, levels[number + 1])
    return total


def divide_and_conquer(
    inverses: Sequence[nn.Module],
    lessons: Lessons,
    schooling: InverseSchooling,
    *,
    seed: int,
    work: Workplace = ALONE,
    shelf: Shelf | None = None,
) -> list[dict[str, float]]:
    """Train `inverses` in place; the mean loss after its phases of each depth that was trained.

    A finished phase is never repeated: each keeps a checkpoint of its own beside the one of `work`,
    and `shelf` has the inverses of every finished depth.
    """
    told: list[dict[str, float]] = []

    def depth(k: int) -> None:
        facts: dict[str, float] = {"block": k}
        phases = [("A", [inverses[k - 1]], schooling.epochs, schooling.rate)]
        if k > 1 and schooling.tune_epochs:
            phases.append(("B", list(inverses[:k]), schooling.tune_epochs, schooling.tune_rate))
        for phase, learning, epochs, rate in phases:
            facts[f"loss_{phase}"] = _phase(
                inverses[:k],
                learning,
                lessons,
                schooling,
                epochs=epochs,
                rate=rate,
                seed=seed + k,
                work=work.beside(f"{k}{phase}"),
                name=f"block {k} {phase}",
            )
        told.append(facts)
        if shelf:
            shelf.put(inverses[:k])

    last = len(inverses)
    # Whoever trains what others want too keeps them waiting, so that it is trained once.
    with shelf.turn() if shelf else nullcontext():
        first = 1 + (shelf.take(inverses) if shelf else 0)
        shared = last if shelf is None or shelf.keep_last else last - 1
        for k in range(first, shared + 1):
            depth(k)
    for k in range(max(first, shared + 1), last + 1):
        depth(k)
    for inverse in inverses:
        inverse.requires_grad_(False).eval()
    return told


def end_to_end(
    inverses: Sequence[nn.Module],
    lessons: Lessons,
    schooling: InverseSchooling,
    *,
    seed: int,
    work: Workplace = ALONE,
) -> list[dict[str, float]]:
    """The rival: the same modules at once, with no loss of a layer, for as many steps in all."""
    depth = len(inverses)
    epochs = depth * schooling.epochs + (depth - 1) * schooling.tune_epochs
    loss = _phase(
        inverses,
        list(inverses),
        lessons,
        InverseSchooling(**{**vars(schooling), "layer": 0.0}),
        epochs=epochs,
        rate=schooling.rate,
        seed=seed,
        work=work.beside("whole"),
        name="all blocks",
    )
    return [{"block": depth, "loss_A": loss}]


def _phase(
    inverses: Sequence[nn.Module],
    learning: Sequence[nn.Module],
    lessons: Lessons,
    schooling: InverseSchooling,
    *,
    epochs: int,
    rate: float,
    seed: int,
    work: Workplace,
    name: str,
) -> float:
    """Train `learning` alone among `inverses`; its last epoch's mean loss."""
    k, last = len(inverses), len(inverses) == len(lessons.blocks)
    for inverse in inverses:
        chosen = any(inverse is one for one in learning)
        inverse.requires_grad_(chosen).train(chosen)
    trained = nn.ModuleList(learning)
    optimizer = torch.optim.Adam(trained.parameters(), lr=rate)
    batches = batch_count(len(lessons), schooling.batch_size)
    schedule = CosineAnnealingLR(optimizer, max(1, epochs * batches))
    draw = torch.Generator()
    deepest = len(lessons.blocks) if schooling.cycle and schooling.whole_cycle else k

    def step(_state: State, batch: Batch) -> dict[str, Loss]:
        levels = lessons.levels(batch.indices, deepest)
        seen = lessons.spoil(levels[k], draw) if last else levels[k]
        return {"net": losses(inverses, lessons.blocks, levels, seen, schooling)}

    rows = torch.arange(len(lessons), device=work.place)
    history = work.fit(
        step,
        State({"net": trained}, {"net": optimizer}, {"net": schedule}, {}, {"draw": draw}),
        TensorSource((rows,)),
        epochs=epochs,
        batch_size=schooling.batch_size,
        seed=seed,
        name=name,
    )
    for inverse in inverses:
        inverse.requires_grad_(False).eval()
    found = history.losses.get("net", [])
    return round(found[-1], 6) if found else float("nan")
