"""Whether halves, read back from their files, answer as the undivided network does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from splitlab.deployment.halves import Halves
from splitlab.errors import Mismatch
from splitlab.models import build
from splitlab.split import Parts, cut, load_part_state, part_state, widen
from splitlab.split.limits.modules import library_alone
from splitlab.split.proof import answer, batches_for, relative_error, trial_images
from splitlab.split.trace.macs import MacCounter

TOLERANCE = 1e-5
"""max|delta| / max|y|, the lab's one definition of equality, for PyTorch in FP32."""

FEWEST = (1, 2, 5)
"""Images at a time, at least; a network was followed at other sizes."""


def check_equality(halves: Halves) -> None:
    """Compare with the whole network, for other images and batches than it was followed with.

    The network is made again as a client and a server make it from their files, so that weights
    which are in no file are noticed too. Defences play no part.

    Raises:
        Mismatch: the whole network answers with no numbers, or not alike twice, or its parts
            answer otherwise, or those made again do; names the error and the batch.
    """
    states = [part_state(halves.head), part_state(halves.bodies[0])]
    alone = len(halves.selector.chosen) == 1
    if alone:
        states.append(part_state(halves.tail))
    net = build(halves.arch, seed=0).eval()
    known: dict[str, Any] = {key: value for state in states for key, value in state.items()}
    net.net.load_state_dict(known, strict=False)
    shape = halves.arch.input.shape
    parts = cut(net, halves.head_end, halves.tail_start, shape)
    name = f"{halves.arch.name!r} cut at {halves.head_end!r}"
    if halves.tail_start is not None:
        name += f" and {halves.tail_start!r}"
    sizes: Sequence[int] = FEWEST
    if not library_alone(net):  # its Python may follow the size of a batch
        with MacCounter() as counter:
            answer([net], trial_images(1, shape))
        sizes = batches_for(counter.macs, FEWEST)
    batches = [trial_images(count, shape) for count in sizes]
    for images in batches:
        whole = answer([net], images)
        _require_numbers(whole, name)
        _require(answer([net], images), whole, f"{name}: the whole network, asked again", images)
        _require(answer(parts, images), whole, f"{name}: its parts, beside the whole,", images)
    _check_read_back(halves, parts, batches[-1], name)


def _check_read_back(halves: Halves, blank: Parts, images: Tensor, name: str) -> None:
    """
    Raises:
        Mismatch: a part answers otherwise once its weights were put into a fresh network.
    """
    load_part_state(blank.head, part_state(halves.head))
    feature = answer([halves.head], images)
    _require(answer([blank.head], images), feature, f"{name}: the head, read back,", images)
    outputs = []
    for number, body in enumerate(halves.bodies):
        load_part_state(blank.body, part_state(body))
        outputs.append(answer([body], feature))
        back = answer([blank.body], feature)
        _require(back, outputs[-1], f"{name}: body {number}, read back,", images)
    tail = widen(blank.tail, len(halves.selector.chosen))
    load_part_state(tail, part_state(halves.tail))
    fed = halves.selector(outputs)
    wanted = answer([halves.tail], fed)
    _require(answer([tail], fed), wanted, f"{name}: the tail, read back,", images)


def _require_numbers(logits: Tensor, name: str) -> None:
    bad = int((~logits.isfinite()).flatten(1).any(1).sum())
    if bad:
        raise Mismatch(
            f"{name}: {bad} of {len(logits)} images are answered with NaN or infinite logits, "
            "though the weights are finite; nothing was written. Give other weights, or train "
            "with a smaller learning rate"
        )


def _require(given: Tensor, wanted: Tensor, what: str, images: Tensor) -> None:
    error = relative_error(given, wanted)
    if error > TOLERANCE:
        raise Mismatch(
            f"{what} gives other answers for a batch of {len(images)}: error {error:.2g} (largest "
            f"difference over largest value), wanted at most {TOLERANCE:.0e}; nothing was written. "
            "Look in the network for what follows the batch size, other images, earlier calls or "
            "weights outside of its state dict"
        )
