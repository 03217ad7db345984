"""How much noise a start is put under, chosen on the adversary's own validation images.

A prior that has learned little leads away from a good start. "Unchanged" is one of the choices, and
the answer where no other gains more than chance.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from adversary.inversion.drag.doubts import whole
from splitlab.metrics import psnr
from splitlab.training import Enough, Progress

STRENGTHS = (0.05, 0.1, 0.2, 0.4)
"""Shares of the schedule that are tried."""
UNCHOSEN = 0.3
"""The paper's; where nothing can choose."""
TRIED_IMAGES, LARGE_TRIED = 16, 4
"""Validation images at most; of those above `FULL_SIZE` fewer."""


def choose_strength(
    sampled: Callable[[float], Tensor], truth: Tensor, start: Tensor
) -> tuple[float, dict[str, float]]:
    """The strength whose images are the nearest to the true ones, or 0 for the start unchanged.

    It has to gain more than one standard error of its gains, image by image.

    Args:
        sampled: strength -> images [n, 3, S, S] in [0, 1].
        truth, start: [n, 3, S, S], n at least 2.

    Returns:
        the strength, and the mean PSNR in dB of each, 0 for the start's.
    """
    own = psnr(truth, start)
    told, best, most = {"0": float(own.mean())}, 0.0, 0.0
    for strength in STRENGTHS:
        images, _ = whole(sampled(strength), start)
        reached = psnr(truth, images)
        gains = reached - own
        mean, error = float(gains.mean()), float(gains.std() / len(gains) ** 0.5)
        told[str(strength)] = float(reached.mean())
        if mean > error and mean > most:
            best, most = strength, mean
    return best, {name: round(value, 2) for name, value in told.items()}


class StrengthTrial:
    """Progress of the trials; `ended` says that a rehearsal left them before they told anything.

    Args:
        watch: who is told.
        total: updates of all of them.
    """

    def __init__(self, watch: Progress, total: int) -> None:
        self._work, self.ended = watch.task("drag: strength", total), False

    def advance(self, count: int) -> None:
        try:
            self._work.advance(count)
        except Enough:
            self.ended = True
            raise

    def close(self) -> None:
        self._work.close()
