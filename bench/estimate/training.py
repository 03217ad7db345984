"""What training takes: a few steps of it, for as many as there are."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from adversary.estimating.commands import few
from adversary.parts.budget import FULL_SIZE
from bench.point.judge import prepare_judge
from bench.point.recipe import Networked
from defenses.parts.prepare import Order, prepare
from defenses.parts.stack import Stack
from splitlab.data import ImageSet, Splits
from splitlab.estimating import Meter, Took
from splitlab.training import OutOfTime, Progress, TrainRecipe, train_classifier

STEPS = 3
"""Of a whole batch, up to `FULL_SIZE`; above it batches are of `LARGE`."""
LARGE = 8
LIMIT = 10.0
"""Seconds of a rehearsal of a defence; one that takes longer is not counted."""


def scaled(recipe: TrainRecipe, size: int) -> tuple[TrainRecipe, int]:
    """The recipe of a rehearsal, and how many images that has."""
    batch = recipe.batch_size if size <= FULL_SIZE else min(LARGE, recipe.batch_size)
    return recipe.model_copy(update={"batch_size": batch}), STEPS * batch


def grown(took: Took, rehearsed: int, rows: int) -> float:
    """Seconds with `rows` images in place of those of the rehearsal: its loops grow with them."""
    inside = sum(loop.seconds for loop in took.loops)
    return took.rest + inside * rows / rehearsed


def classifier_seconds(
    net: nn.Module,
    images: ImageSet,
    rows: int,
    recipe: TrainRecipe,
    meter: Meter,
    device: str,
    frozen: Collection[str] = (),
) -> float:
    """Of `train_classifier` on `rows` images; `net` is changed by a few steps.

    Args:
        images: a sample is taken of them.
    """
    quick, count = scaled(recipe, images.size)
    own = few(images, count)
    took = meter.rehearsed(
        lambda watch: train_classifier(
            net, own, quick, device=device, progress=watch, frozen=frozen
        )
    )
    net.to("cpu")
    return grown(took, count, rows)


def judge_seconds(
    config: Networked, splits: Splits, meter: Meter, device: str, *, trains: bool
) -> tuple[float, Callable[[Tensor], Tensor]]:
    """Of `prepare_judge`, and features such as its own, of a judge that has hardly learned.

    Args:
        trains: whether it is still to be trained.
    """
    from bench.point.judge import RECIPE

    _, count = scaled(RECIPE, config.size)
    small = replace(splits, train=few(splits.train, count), validation=few(splits.validation, 2))
    found = []

    def work(watch: Progress) -> None:
        with tempfile.TemporaryDirectory(prefix="splitlab-estimate-") as folder:
            found.append(prepare_judge(Path(folder), config, small, device=device, progress=watch))

    took = meter.rehearsed(work)
    seconds = grown(took, count, len(splits.train)) if trains else took.rest
    return seconds, found[0].embed


def defended_seconds(stack: Stack, order: Order, meter: Meter) -> float | None:
    """Of `defenses.parts.prepare`, whatever the stack trains; None where that cannot be told.

    Several networks of one deployment are rehearsed one after another.
    """
    quick, count = scaled(order.recipe, order.images.size)

    def work(watch: Progress) -> None:
        with tempfile.TemporaryDirectory(prefix="splitlab-estimate-") as folder:
            prepare(
                stack,
                replace(
                    order,
                    images=few(order.images, count),
                    recipe=quick,
                    folder=Path(folder),
                    progress=watch,
                    together="one after another",
                ),
            )

    try:
        took = meter.rehearsed(work, LIMIT)
    except (OutOfTime, RuntimeError, ValueError):
        return None
    return grown(took, count, len(order.images))
