"""Whether halves, read back from their files, answer as the undivided network does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from splitlab.deployment.halves import Halves
from splitlab.errors import Mismatch
from splitlab.models import build
from splitlab.split import Parts, cut, load_part_state, part_state, widen

TOLERANCE = 1e-5
"""max|delta| / max|y|, the lab's one definition of equality, for PyTorch in FP32."""

BATCHES = (1, 2, 5)
"""Images at a time; a network was followed at other sizes."""

_SEED = 20_180_521


def check_equality(halves: Halves) -> None:
    """Compare with the whole network, for other images and batches than it was followed with.

    The network is made again as a client and a server make it from their files, so that weights
    which are in no file are noticed too. Defences play no part.

    Raises:
        Mismatch: the whole network does not answer alike twice, or its parts answer otherwise, or
            those made again do; names the error and the batch.
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
    batches = [_images(count, shape) for count in BATCHES]
    for images in batches:
        whole = _answer([net], images)
        _require(_answer([net], images), whole, f"{name}: the whole network, asked again", images)
        _require(_answer(parts, images), whole, f"{name}: its parts, beside the whole,", images)
    _check_read_back(halves, parts, batches[-1], name)


def _check_read_back(halves: Halves, blank: Parts, images: Tensor, name: str) -> None:
    """
    Raises:
        Mismatch: a part answers otherwise once its weights were put into a fresh network.
    """
    load_part_state(blank.head, part_state(halves.head))
    feature = _answer([halves.head], images)
    _require(_answer([blank.head], images), feature, f"{name}: the head, read back,", images)
    outputs = []
    for number, body in enumerate(halves.bodies):
        load_part_state(blank.body, part_state(body))
        outputs.append(_answer([body], feature))
        back = _answer([blank.body], feature)
        _require(back, outputs[-1], f"{name}: body {number}, read back,", images)
    tail = widen(blank.tail, len(halves.selector.chosen))
    load_part_state(tail, part_state(halves.tail))
    fed = halves.selector(outputs)
    wanted = _answer([halves.tail], fed)
    _require(_answer([tail], fed), wanted, f"{name}: the tail, read back,", images)


def _answer(chain: Sequence[nn.Module | Callable[[Tensor], Tensor]], given: Tensor) -> Tensor:
    """What the chain makes of `given`; random layers draw the same whenever they are asked."""
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        tensor = given.clone()
        for module in chain:
            tensor = module(tensor)
        return tensor


def relative_error(given: Tensor, wanted: Tensor) -> float:
    """max|delta| / max|y|; 0 where both have the same infinities and NaN, else infinite."""
    if given.shape != wanted.shape:
        return float("inf")
    same = torch.isclose(given, wanted, rtol=0, atol=0, equal_nan=True)
    if bool(same.all()):
        return 0.0
    delta = (given.double() - wanted.double()).masked_fill(same, 0).abs().max()
    finite = wanted.double()[torch.isfinite(wanted)].abs()
    scale = float(finite.max()) if finite.numel() else 0.0
    ratio = float(delta) / (scale or 1.0)
    return ratio if ratio == ratio else float("inf")


def _require(given: Tensor, wanted: Tensor, what: str, images: Tensor) -> None:
    error = relative_error(given, wanted)
    if error > TOLERANCE:
        raise Mismatch(
            f"{what} gives other answers for a batch of {len(images)}: error {error:.2g} (largest "
            f"difference over largest value), wanted at most {TOLERANCE:.0e}; nothing was written. "
            "Look in the network for what follows the batch size, other images, earlier calls or "
            "weights outside of its state dict"
        )


def _images(count: int, shape: tuple[int, ...]) -> Tensor:
    """[B, *shape] in [0, 1]: noise, black, white, a slope and dark noise, from another end each."""
    source = torch.Generator().manual_seed(_SEED + count)
    noise = torch.rand(shape, generator=source)
    slope = torch.linspace(0, 1, shape[-1]).expand(shape)
    kinds = [noise, torch.zeros(shape), torch.ones(shape), slope, 0.1 * noise.flip(-1)]
    return torch.stack([kinds[(count + place - 1) % len(kinds)] for place in range(count)])
