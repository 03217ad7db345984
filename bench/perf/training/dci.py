"""`bench perf dci`: training of DCI's inverses against a straightforward loop, in one run.

The rival writes the three losses down as they are: each runs the frozen target from the images on,
and the layer's loss its inverse, while what the chain of inverses gives is computed once for the
other two. Both make the same number of steps on the same network and images, in turns, depth after
depth. Ours has the target's features from one run on all images, one pass through the inverses for
all three losses, and the frozen target folded: batch norms in the convolutions, branches merged.
What of the gain is the folding's is told by a second rival, the same loop on the folded target.

Both train inverses whose weights lie channels last. On a GPU ours runs in bfloat16, as `fit` does,
and the rival in FP32: that is part of what is compared there.

Memory of a step is what it keeps for its backward pass, counted by autograd itself, so that it
depends on no allocator; ours also keeps the features of all images from the first step to the last,
where they fit (`KEPT_BYTES`).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adversary.contract.threat import ThreatModel
from adversary.contract.workplace import Workplace
from adversary.inversion.dci.chain import Block, chain
from adversary.inversion.dci.inverse_blocks import mirror
from adversary.inversion.dci.lessons import Lessons
from adversary.inversion.dci.training import InverseSchooling, divide_and_conquer, losses
from bench.perf.verdict import judged, wait
from splitlab.contracts import ArchSpec
from splitlab.data import load_splits
from splitlab.models import build
from splitlab.split import cut
from splitlab.training import Work, choose_device

LIMIT = 1.5
"""Least ratio of the rival's time to ours on a CPU."""
MODEL, DEEPEST = "repvgg_mini", "stage3.2"
SCHOOLING = InverseSchooling(1, 1e-3, 1, 1e-4, 64, 1.0, 1.0, 1.0, True)
SEED = 0


def perf_dci(device: str = "auto", *, images: int = 512, rounds: int = 2) -> dict[str, Any]:
    """Train every inverse for one epoch of each phase, ours and the rival's in turns.

    Seconds are sums over the rounds and over all depths.

    Args:
        images: photo-patches crops.
        rounds: after one that warms up.
    """
    place = choose_device(device)
    blocks, inverses = _problem(place)
    pixels = load_splits("photo-patches", limits={"train": images}).train.images.to(place)

    def prepare(inputs: Tensor) -> Tensor:
        return inputs.float() / 127.5 - 1

    begun = time.perf_counter()
    lessons = Lessons.of(blocks, pixels, prepare=prepare)
    wait(place)
    features = time.perf_counter() - begun
    ours, theirs = [0.0] * len(blocks), [0.0] * len(blocks)
    folded = 0.0
    for turn in range(rounds + 1):
        one = _ours(copy.deepcopy(inverses), lessons, place)
        other = _rival(copy.deepcopy(inverses), blocks, pixels, prepare, place)
        if turn:
            ours = [a + b for a, b in zip(ours, one, strict=True)]
            theirs = [a + b for a, b in zip(theirs, other, strict=True)]
            same = copy.deepcopy(inverses)
            folded += sum(_rival(same, lessons.blocks, pixels, prepare, place))
    batch = torch.arange(min(SCHOOLING.batch_size, images), device=place)
    costs = []
    for k, block in enumerate(blocks, 1):
        one_pass = partial(_one_pass, inverses[:k], lessons, batch)
        from_images = partial(_from_images, inverses[:k], blocks, prepare(pixels[batch]))
        costs.append(
            {
                "block": k,
                "name": block.name,
                "ours_seconds": ours[k - 1],
                "rival_seconds": theirs[k - 1],
                "ours_mib": _kept(one_pass),  # of one step of phase B
                "rival_mib": _kept(from_images),
            }
        )
    # What is computed once is ours as well, in each round.
    whole = sum(ours) + rounds * features
    found = {
        "device": place.type,
        "model": MODEL,
        "images": images,
        "batch_size": SCHOOLING.batch_size,
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "precision": "bfloat16" if place.type == "cuda" else "float32",
        "features_seconds": features,
        "features_mib": lessons.kept_bytes / 2**20,
        "ours": whole,
        "rival": sum(theirs),
        "rival_folded": folded,
        "ratio_folded": folded / whole,
        "blocks": costs,
    }
    return judged(found, sum(theirs) / whole, LIMIT)


def _problem(place: torch.device) -> tuple[list[Block], list[nn.Module]]:
    """Blocks of the target and their inverses; weights are random, as time does not ask."""
    arch = ArchSpec(name=MODEL)
    head = cut(build(arch, seed=SEED), DEEPEST, None, arch.input.shape).head
    threat = ThreatModel(arch=arch, head_end=DEEPEST, head=head, input=arch.input)
    blocks = [b._replace(module=b.module.to(place)) for b in chain(threat, "bench perf dci")]
    torch.manual_seed(SEED)
    inverses: list[nn.Module] = [
        mirror(b.module, b.given, b.made, positive=number > 0, image=number == 0).to(place)
        for number, b in enumerate(blocks)
    ]
    return blocks, inverses


class _Clock:
    """Progress that adds up the seconds of each depth."""

    def __init__(self, depths: int, place: torch.device) -> None:
        self.seconds = [0.0] * depths
        self._place, self._now, self._begun = place, 0, 0.0

    def task(self, name: str, total: int, done: int = 0) -> Work:
        del total, done  # what counts is time
        self._now, self._begun = int(name.split()[1]) - 1, time.perf_counter()
        return self

    def advance(self, count: int, loss: Tensor | float | None = None) -> None:
        pass

    def close(self) -> None:
        wait(self._place)
        self.seconds[self._now] += time.perf_counter() - self._begun


def _ours(inverses: list[nn.Module], lessons: Lessons, place: torch.device) -> list[float]:
    clock = _Clock(len(inverses), place)
    divide_and_conquer(inverses, lessons, SCHOOLING, seed=SEED, work=Workplace(place.type, clock))
    return clock.seconds


def _rival(
    inverses: list[nn.Module],
    blocks: Sequence[Block],
    pixels: Tensor,
    prepare: Callable[[Tensor], Tensor],
    place: torch.device,
) -> list[float]:
    """Seconds of each depth."""
    found = []
    draw = torch.Generator().manual_seed(SEED)
    for inverse in inverses:
        inverse.to(memory_format=torch.channels_last)
    for k in range(1, len(blocks) + 1):
        begun = time.perf_counter()
        phases = [(inverses[k - 1 : k], SCHOOLING.rate), (inverses[:k], SCHOOLING.tune_rate)]
        for learning, rate in phases[: 1 if k == 1 else 2]:
            for inverse in inverses[:k]:
                chosen = any(inverse is one for one in learning)
                inverse.requires_grad_(chosen).train(chosen)
            parameters = [p for one in learning for p in one.parameters()]
            optimizer = torch.optim.Adam(parameters, lr=rate)
            order = torch.randperm(len(pixels), generator=draw).to(place)
            for rows in order.split(SCHOOLING.batch_size):
                loss = _from_images(inverses[:k], blocks, prepare(pixels[rows]))
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
        wait(place)
        found.append(time.perf_counter() - begun)
    return found


def _one_pass(inverses: Sequence[nn.Module], lessons: Lessons, rows: Tensor) -> Tensor:
    levels = lessons.levels(rows)
    return losses(inverses, lessons.blocks, levels, levels[len(inverses)], SCHOOLING)


def _from_images(inverses: Sequence[nn.Module], blocks: Sequence[Block], images: Tensor) -> Tensor:
    """The three losses as they are written down, each with the features that it needs."""
    k = len(inverses)
    before = nn.Sequential(*(block.module for block in blocks[: k - 1]))
    shown = nn.Sequential(*(block.module for block in blocks[:k]))
    layer = F.l1_loss(inverses[-1](shown(images)), before(images))
    again = nn.Sequential(*reversed(inverses))(shown(images))
    image = F.l1_loss(again, images)
    cycle = torch.zeros((), device=images.device)
    truth = images
    for block in blocks:
        truth, again = block.module(truth), block.module(again)
        cycle = cycle + F.l1_loss(again, truth)
    return layer + image + cycle


def _kept(step: Callable[[], Tensor]) -> float:
    """MiB of the tensors that autograd keeps for the backward pass of `step`."""
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = step()
    del loss
    return sum(sizes.values()) / 2**20
