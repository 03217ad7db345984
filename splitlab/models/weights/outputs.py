"""The last layer: which tensors it is, and how many classes a checkpoint tells apart."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def outputs_of(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> int | None:
    """How many classes `tensors` tell apart where the network differs in that number alone.

    A layer that others follow changes their second dimension with its own first; only the last
    layer (and auxiliary ones) can differ in the first alone.

    Returns:
        The number, or None where nothing differs or something else does.
    """
    different = [k for k in wanted if k in tensors and tensors[k].shape != wanted[k].shape]
    pairs = set()
    for key in different:
        given, own = tensors[key].shape, wanted[key].shape
        if not given or not own or given[1:] != own[1:]:
            return None
        pairs.add((given[0], own[0]))
    return pairs.pop()[0] if len(pairs) == 1 else None


def classifier_keys(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
    """The tensors whose shapes follow the number of classes.

    Args:
        one, other: state dicts of one network for two numbers of classes.
    """
    return [key for key, value in one.items() if value.shape != other[key].shape]
