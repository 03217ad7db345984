"""Arguments and results at two batch sizes -> what they are at any."""

from __future__ import annotations

from typing import Any

from splitlab.errors import NotCuttable
from splitlab.split.limits.batch_size import has_batch, plain_number, refuse_bent
from splitlab.split.trace.tree import BatchMark, Shape, leaves, map_leaves


def merge_batches(one: Any, two: Any, batches: tuple[int, int], where: str) -> Any:
    """Arguments at both batch sizes -> arguments at any.

    Raises:
        NotCuttable: they differ in something that is no multiple of the batch size.
    """
    others = list(leaves(two))
    count = sum(1 for _ in leaves(one))
    if count != len(others):
        raise NotCuttable(
            f"{where}: a list or tuple is as long as the batch ({count} values for {batches[0]} "
            f"images, {len(others)} for {batches[1]}); make a tensor of them instead, e.g. "
            "torch.full((len(x),), value)"
        )
    pairs = iter(others)

    def change(leaf: Any) -> Any:
        marked = next(pairs)
        other = plain_number(marked)
        if leaf is other or leaf == other:
            refuse_bent(marked, where)
            return leaf
        if type(leaf) is int and type(other) is int:
            factor, rest = divmod(leaf, batches[0])
            if rest == 0 and factor * batches[1] == other:
                refuse_bent(marked, where)
                return BatchMark(factor)
        if not has_batch(marked) and isinstance(other, (int, float)):
            raise NotCuttable(
                f"{where}: an argument is {leaf!r} in one run and {other!r} in another, though no "
                "size of a batch is seen in it; look for a clock, a counter, a random number or "
                "int() of a size; such a network cannot be cut"
            )
        raise NotCuttable(
            f"{where}: an argument is {leaf!r} for {batches[0]} images and {other!r} for "
            f"{batches[1]}, which is no multiple of the batch size"
        )

    return map_leaves(one, change)


def per_image(one: Any, two: Any, batches: tuple[int, int]) -> Shape | None:
    """The shape of one image's part, where dimension 0 is the batch and no other one grows."""
    if not (isinstance(one, Shape) and isinstance(two, Shape) and one.dtype.is_floating_point):
        return None
    if one.shape[:1] != batches[:1] or two.shape[:1] != batches[1:]:
        return None
    return Shape(one.shape[1:], one.dtype) if one.shape[1:] == two.shape[1:] else None
