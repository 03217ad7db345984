"""Choose where `rmle` starts and how it goes on, on the adversary's own validation images.

Settings are judged together, by the error of the pixels, which the adversary knows of its own
images. A feature loss would not do: of images that explain a feature equally well it cannot tell
the likelier, and weak regularisation always wins by it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from adversary.inversion.rmle.matching import (
    MatchingSettings,
    Spectra,
    match_features,
    rows_at_once,
)
from splitlab.contracts import InputSpec
from splitlab.metrics import psnr
from splitlab.training import Enough
from splitlab.training.progress import Work


class Grid(NamedTuple):
    """Weights of TV and of the distance to the start that are tried."""

    tvs: tuple[float, ...]
    nears: tuple[float, ...]


BLANK = Grid((0.0, 0.003, 0.03, 0.3), (0.0,))
STARTED = Grid((0.0, 0.003, 0.03), (0.0, 0.1))
SPECTRAL = Grid((0.0,), (0.001, 0.01, 0.1, 1.0))
"""From either start in the coordinates of its spectrum; with 1 half of a feature is noise."""

HOPELESS = 4.0
"""Who is so many dB behind the best after a trial is not tried in full, unless it is `FAST`."""
FAST = 0.3
"""An option whose loss falls by this share in the last tenth of its trial is on its way, however
far behind: behind a head that loses little, plain pixels begin slowly and end exact."""


class Trials(NamedTuple):
    """
    Args:
        decibels: PSNR of each image after each option, [options, n].
        falls: share by which the loss of each option still fell in its last tenth, [options].
    """

    decibels: Tensor
    falls: Tensor


class TrialSteps:
    """Counts the steps of all trials, and remembers whether a rehearsal had enough of them."""

    def __init__(self, task: Work) -> None:
        self._task = task
        self.ended = False

    def advance(self, count: int) -> None:
        """
        Raises:
            Enough: of a rehearsal.
        """
        try:
            self._task.advance(count)
        except Enough:
            self.ended = True
            raise

    def close(self) -> None:
        """They are all done."""
        self._task.close()


@dataclass(frozen=True, eq=False)
class Bench:
    """What settings are tried on.

    Args:
        model: images [B, 3, S, S] in [0, 1] -> features, as the adversary models the client.
        seen: z^ [n, *feature_shape] of n validation images, spoilt as on the wire.
        truth: these images [n, 3, S, S] in [0, 1], which only their owner knows.
        start: what another attack makes of `seen`, [n, 3, S, S] in [0, 1]; None for nothing.
        spectra: of what images differ by from both starts.
        counts: weight of each element of the feature loss, or None.
        given: the images' size, mean and deviation.
        unit: what the feature loss is divided by.
        rng: of the first images.
        advance: told the number of images after every step.
    """

    model: Callable[[Tensor], Tensor]
    seen: Tensor
    truth: Tensor
    start: Tensor | None
    spectra: Spectra | None
    counts: Tensor | None
    given: InputSpec
    unit: float
    rng: torch.Generator
    advance: Callable[[int], None]

    def parted(self, count: int) -> tuple[Bench, Bench | None]:
        """The first `count` images to choose by, and the others, if two, to confirm what won."""
        rest = self._of(slice(count, None))
        return self._of(slice(count)), rest if len(rest.truth) > 1 else None

    def _of(self, rows: slice) -> Bench:
        start = None if self.start is None else self.start[rows]
        counts = None if self.counts is None else self.counts[rows]
        return replace(
            self, seen=self.seen[rows], truth=self.truth[rows], start=start, counts=counts
        )

    def decibels(self, options: Sequence[MatchingSettings]) -> Tensor:
        """PSNR of each validation image after each option, [options, n]."""
        return self.trials(options).decibels

    def trials(self, options: Sequence[MatchingSettings]) -> Trials:
        """Each option's descent on every validation image."""
        together = max(1, rows_at_once(self.given.size) // len(self.seen))
        parts = [options[n : n + together] for n in range(0, len(options), together)]
        found = [self._trials(part) for part in parts]
        return Trials(*(torch.cat(of_parts) for of_parts in zip(*found, strict=True)))

    def unchanged(self) -> Tensor:
        """PSNR of each validation image's start, [n]; 0 where it is no image."""
        assert self.start is not None
        lost = ~self.start.flatten(1).isfinite().all(1)
        return psnr(self.truth, self.start.nan_to_num(0.0)).masked_fill(lost, 0.0)

    def _trials(self, options: Sequence[MatchingSettings]) -> Trials:
        count, times = len(options), (len(options), *[1] * (self.seen.ndim - 1))
        match = match_features(
            self.model,
            self.seen.repeat(times),
            [option for option in options for _ in self.seen],
            self.given,
            self.rng.clone_state(),  # whose first image is the same for all that are compared
            None if self.counts is None else self.counts.repeat(times),
            self.unit,
            self.advance,
            None if self.start is None else self.start.repeat(count, 1, 1, 1),
            self.spectra,
        )
        lost = ~match.images.flatten(1).isfinite().all(1)
        found = psnr(self.truth.repeat(count, 1, 1, 1), match.images.nan_to_num(0.0))
        decibels = found.masked_fill(lost, 0.0).view(count, -1)  # who diverged is the worst
        return Trials(decibels, match.falls.view(count, -1).mean(1))


class ChosenSettings(NamedTuple):
    """
    Args:
        settings: with no steps where the start is left as it is.
        decibels: mean PSNR on the validation images, of the start too where there is one.
    """

    settings: MatchingSettings
    decibels: dict[str, float]


def choose(
    bench: Bench, options: Sequence[MatchingSettings], steps: int, other: Bench | None = None
) -> ChosenSettings:
    """The option that comes nearest to the validation images, tried briefly, then in full.

    The best from each start, on plain pixels and in coordinates, get their whole descent. A start
    is left as it is unless the best of them gains more than one standard error of its gain over
    other images, at least 2.

    Args:
        options: each with the steps of a trial.
        steps: of a whole descent.
        other: of images by which nothing was chosen; None to take the same ones again.
    """
    tried = bench.trials(options)
    best = finalists(options, tried.decibels.mean(1).tolist(), tried.falls.tolist())
    full = [replace(one, steps=steps) for one in best]
    reached = bench.decibels(full)
    row = int(reached.mean(1).argmax())
    won, told = full[row], {"descent": round(float(reached[row].mean()), 3)}
    if bench.start is None:
        return ChosenSettings(won, told)
    told["start"] = round(float(bench.unchanged().mean()), 3)
    gain = reached[row] - bench.unchanged()
    if other is not None:
        gain = other.decibels([won])[0] - other.unchanged()
        told["gain_on_others"] = round(float(gain.mean()), 3)
    if len(gain) > 1 and float(gain.mean()) > float(gain.std()) / len(gain) ** 0.5:
        return ChosenSettings(won, told)
    still = replace(won, steps=0, tv=0.0, near=0.0, started=True, spectral=False)
    return ChosenSettings(still, told)


def finalists(
    options: Sequence[MatchingSettings], tried: Sequence[float], falls: Sequence[float]
) -> list[MatchingSettings]:
    """Of each start, on plain pixels and in coordinates: the best, if it is no hopeless case.

    In coordinates with the next weaker prior beside it, since short descents favour strong ones;
    and of all options the one whose loss falls fastest, if it is `FAST`.

    Args:
        tried: PSNR of each option after its trial.
        falls: how much its loss still fell, as of `Trials`.
    """
    found: list[MatchingSettings] = []
    order = sorted(range(len(options)), key=lambda row: -tried[row])
    for family in dict.fromkeys((one.started, one.spectral) for one in options):
        rows = [n for n in order if (options[n].started, options[n].spectral) == family]
        if tried[rows[0]] < tried[order[0]] - HOPELESS:
            continue
        best = options[rows[0]]
        weaker = [n for n in rows if options[n].near < best.near] if best.spectral else []
        found += [best] + [options[n] for n in sorted(weaker, key=lambda n: -options[n].near)[:1]]
    fastest = max(range(len(options)), key=lambda row: falls[row])
    if falls[fastest] >= FAST and options[fastest] not in found:
        found.append(options[fastest])
    return found


def most_finalists(options: Sequence[MatchingSettings]) -> int:
    """How many there are of them where nobody is hopeless."""
    families = {(one.started, one.spectral) for one in options}
    nears = len({one.near for one in options if one.spectral})
    return (
        len(families) + (nears > 1) * sum(spectral for _, spectral in families) + (len(options) > 1)
    )


def options_of(
    base: MatchingSettings,
    tv: float | None,
    near: float | None,
    spectral: bool | None,
    *,
    started: bool,
) -> list[MatchingSettings]:
    """All settings to be tried: what is given is not varied.

    Args:
        base: of one trial; its steps are those of a trial.
        tv, near, spectral: decided already where not None.
        started: whether there is a start, so that both are tried.
    """

    def varied(grid: Grid, begun: bool, whitened: bool) -> list[MatchingSettings]:
        bound = begun or whitened  # a blank start of plain pixels has nothing to stay near
        return [
            replace(base, tv=t, near=n, started=begun, spectral=whitened)
            for t, n in product(
                grid.tvs if tv is None else (tv,),
                grid.nears if near is None or not bound else (near,),
            )
        ]

    found: list[MatchingSettings] = []
    for begun in (False, True) if started else (False,):
        if not spectral:
            found += varied(STARTED if begun else BLANK, begun, False)
        if spectral is not False and base.learning_rate is None:
            found += varied(SPECTRAL, begun, True)
    return found
