"""Learn in cycles until one of them gains held-out images little.

Each cycle ends with a learning rate near zero, so that what it has reached can be judged; one that
began anew from there and gained little was the last.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

GAIN = 0.25
"""A cycle that lowers the held-out error by less than this share (1.2 dB) is the last."""


def learn_in_cycles(
    net: nn.Module, cycle: Callable[[int], Any], error: Callable[[], float] | None, most: int
) -> list[float]:
    """Train `net` in place; it is left as the best cycle left it.

    Args:
        cycle: trains it once more; told how many cycles there were before.
        error: of held-out images, not negative; None to run all cycles.
        most: cycles, at least 1.

    Returns:
        the held-out error before the first cycle and after each.
    """
    errors, best = [error()] if error is not None else [], copy.deepcopy(net.state_dict())
    for number in range(most):
        cycle(number)
        if error is None:
            continue
        errors.append(error())
        if errors[-1] <= min(errors):
            best = copy.deepcopy(net.state_dict())
        if number and errors[-1] > (1 - GAIN) * errors[-2]:
            break
    if error is not None:
        net.load_state_dict(best)
    return errors


def still_gaining(errors: Sequence[float], most: int) -> list[str]:
    """The doubt of cycles that ended at their number, and not because the last one gained little.

    Args:
        errors: as `learn_in_cycles` returns them.
        most: cycles that were allowed.
    """
    if len(errors) <= most or errors[-1] >= (1 - GAIN) * errors[-2]:
        return []
    share = 100 * (1 - errors[-1] / errors[-2])
    return [
        f"truncated: the last of {most} cycles still lowered the error on held-out images by "
        f"{share:z.0f} %"
    ]
