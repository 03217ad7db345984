"""Whether a user's own network is still what was deployed: its code is in no file of a half.

Names and shapes of the weights are compared wherever they are loaded. What a forward does with
them is not in them, so the halves of such a network also keep some of what each part answered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from splitlab.contracts import ArchSpec
from splitlab.contracts.arch import is_own
from splitlab.errors import Mismatch, NotCuttable, UnknownName
from splitlab.split import Part
from splitlab.split.proof import answer, relative_error, trial_images

KEPT = 16
"""Numbers of an answer, evenly over it; beside them its mean, deviation and largest value."""
TOLERANCE = 1e-3
"""Of `relative_error`: other machines and versions round otherwise, other code differs by more."""
SampleAnswers = tuple[tuple[float, ...], ...]


@contextmanager
def as_deployed(arch: ArchSpec) -> Iterator[None]:
    """Around the making of a part from its files.

    Raises:
        Mismatch: the code of a user's own network makes other layers, or has no such place.
    """
    try:
        yield
    except (Mismatch, NotCuttable, UnknownName) as error:
        if not is_own(arch.name):
            raise
        raise Mismatch(f"{_changed(arch.name)} ({error})") from error


def answers_of(arch: ArchSpec, parts: Sequence[Part]) -> SampleAnswers:
    """What is kept of each part of a user's own network; nothing of others."""
    return tuple(some_of_answer(part) for part in parts) if is_own(arch.name) else ()


def require_answers(arch: ArchSpec, part: Part, kept: Sequence[float], what: str) -> None:
    """
    Raises:
        Mismatch: a part with the very weights answers otherwise than it did.
    """
    if differs(some_of_answer(part), kept):
        raise Mismatch(f"{_changed(arch.name)} ({what}, with the same weights, answers otherwise)")


def differs(given: Sequence[float], kept: Sequence[float]) -> bool:
    """Whether two of `some_of_answer` are not of the same code and weights."""
    pair = [torch.tensor(values, dtype=torch.float64) for values in (given, kept)]
    return relative_error(*pair) > TOLERANCE


def some_of_answer(
    part: torch.nn.Module, shape: tuple[int, ...] | None = None
) -> tuple[float, ...]:
    """Numbers that tell one code from another.

    Args:
        shape: of one image or feature; None for the part's own.
    """
    own = part.input_shape if isinstance(part, Part) else shape
    assert own is not None
    values = answer([part], trial_images(2, own)).double().flatten()
    places = torch.linspace(0, len(values) - 1, KEPT).round().long()
    summary = torch.stack([values.mean(), values.std(), values.abs().max()])
    return tuple(float(f"{value:.8g}") for value in (*values[places].tolist(), *summary.tolist()))


def _changed(name: str) -> str:
    return (
        f"{name} is not the network that was deployed; its code has changed, or is another one "
        "here: import the code that it was deployed with, or train and deploy it again"
    )
