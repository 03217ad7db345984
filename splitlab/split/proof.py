"""Whether parts answer as the whole network does, at sizes that it was not followed with.

What a network asks of a batch in Python is seen while it is followed, but not everything can be: a
number that `int()` or `float()` made of a size, a text of a whole shape, `"%d" % size`. This is the
net below. Where `int()` or `float()` was seen, it has many more sizes; it is no proof for others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from splitlab.errors import NotCuttable, SplitLabError
from splitlab.split.limits.contexts import autocast_off
from splitlab.split.limits.modules import library_alone
from splitlab.split.trace.twin import shadow

ALWAYS = (1, 2)
FURTHER = (16, 33, 8, 5, 32)
"""Images at a time, the most telling first: powers of two, where people branch, and odd ones."""
LOST = tuple(count for count in (*range(3, 65), 96, 100, 128, 256) if count not in FURTHER)
"""Further ones for networks that make a plain number of a size, with which they may compare."""
MOST_VALUES = 2**24
"""Numbers in the images of one of these, about 64 MB."""
MOST_MACS = 20e9
"""Of all images of one comparison, but for `ALWAYS`: about a second of a core."""
TOLERANCE = 1e-4
"""Of `relative_error`: the operations are the same, so that rounding hardly differs."""

_SEED = 20_180_521


def batches_for(
    macs: int, always: tuple[int, ...] = ALWAYS, further: tuple[int, ...] = FURTHER
) -> list[int]:
    """Sizes at which to compare a network that takes so many multiply-accumulates an image."""
    found, left = list(always), MOST_MACS - macs * sum(always)
    for count in further:
        if count not in found and count * macs <= left:
            found.append(count)
            left -= count * macs
    return sorted(found)


def require_same_answers(
    net: nn.Module,
    parts: Sequence[nn.Module],
    input_shape: tuple[int, ...],
    macs: int,
    *,
    lost: bool = False,
) -> None:
    """Compare, but for networks of library layers alone, which are followed in our own tests.

    Args:
        net: images [B, *input_shape] -> logits; left as it is.
        parts: the same, one after another.
        macs: multiply-accumulates for one image.
        lost: whether the network made plain numbers of sizes, so that more sizes are compared.

    Raises:
        NotCuttable: the parts answer otherwise, or they or the whole do not run in inference mode;
            names the size of the batch.
    """
    if library_alone(net) or any(tensor.is_meta for tensor in net.parameters()):
        return
    whole = shadow(net, numbers=True)
    device = next((tensor.device for tensor in net.parameters()), torch.device("cpu"))
    few = tuple(count for count in LOST if count * math.prod(input_shape) <= MOST_VALUES)
    for count in batches_for(macs, further=(*FURTHER, *few) if lost else FURTHER):
        images = trial_images(count, input_shape).to(device)
        with autocast_off():  # around a cut it is no part of the network
            wanted = _answer([whole], images, "the network itself")
            error = relative_error(_answer(parts, images, "its parts"), wanted)
        if error > TOLERANCE:
            raise NotCuttable(
                f"the parts answer otherwise than the whole network for a batch of {count}: error "
                f"{error:.2g} (largest difference over largest value); look in the network for "
                "what follows the batch size, inference mode, other images or earlier calls, and "
                "cannot be seen (int() of a size, text of a shape, a list that it picks from)"
            )


def _answer(chain: Sequence[nn.Module], images: Tensor, whose: str) -> Tensor:
    """
    Raises:
        NotCuttable: whatever goes wrong inside, with its reason.
    """
    try:
        found = answer(chain, images)
    except SplitLabError:
        raise
    except Exception as error:
        why = str(error).partition("\n")[0] or type(error).__name__
        raise NotCuttable(
            f"{whose} cannot be run on a batch of {len(images)} in inference mode, though the "
            f"network could be followed: {type(error).__name__}: {why}; look in the network for "
            "threads, gradients, changes of its own modules, and containers of tensors of its own"
        ) from error
    if not isinstance(found, Tensor):
        raise NotCuttable(f"the network returns {type(found).__name__}, wanted one tensor")
    return found


def answer(chain: Sequence[nn.Module | Callable[[Tensor], Tensor]], given: Tensor) -> Tensor:
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


def trial_images(count: int, shape: tuple[int, ...]) -> Tensor:
    """[B, *shape] in [0, 1]: noise, black, white, a slope and dark noise, from another end each."""
    source = torch.Generator().manual_seed(_SEED + count)
    noise = torch.rand(shape, generator=source)
    slope = torch.linspace(0, 1, shape[-1]).expand(shape)
    kinds = [noise, torch.zeros(shape), torch.ones(shape), slope, 0.1 * noise.flip(-1)]
    return torch.stack([kinds[(count + place - 1) % len(kinds)] for place in range(count)])
