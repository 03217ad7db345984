"""Regularised maximum likelihood (He, Zhang and Lee 2019, "Model Inversion Attacks Against
Collaborative Inference", section 4.1, white box): the image whose feature is the captured one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from adversary.contract.attack import Attack, FittedOn, Preset, seed_of
from adversary.contract.believed import believed, certain, loses_elements
from adversary.contract.threat import ThreatModel
from adversary.contract.workplace import ALONE, Estimator, Workplace
from adversary.inversion.rmle.choice import (
    Bench,
    TrialSteps,
    choose,
    most_finalists,
    options_of,
)
from adversary.inversion.rmle.doubts import Descent, cut_to_budget, estimate_of
from adversary.inversion.rmle.matching import (
    MatchingSettings,
    Spectra,
    match_features,
    rows_at_once,
)
from adversary.inversion.rmle.presets import PRESETS
from adversary.inversion.rmle.start import (
    MEAN,
    Starter,
    spectra_of,
    start_attack,
    start_of,
    start_written,
    starting,
)
from adversary.parts.budget import FULL_SIZE, LEAST_STEPS, LEAST_TRIAL_STEPS, descent_steps
from splitlab.contracts import Estimate, Features, InputSpec
from splitlab.contracts.ranges import LearningRate, Steps, Weight
from splitlab.split.folding import fold_batch_norm
from splitlab.training import Progress

STEPS, CHOOSE_IMAGES, CHOOSE_STEPS = 300, 4, 40
"""Where they are not given, on images of up to `FULL_SIZE`."""
UNCHOSEN, UNCHOSEN_SPECTRAL = (0.03, 0.0), (0.0, 0.01)
"""Weights of TV and of the distance to the start, on plain pixels and in coordinates, where nothing
can choose them."""


class RMLE(Attack):
    """Descent on the image (`adversary.inversion.rmle.matching`).

    It begins at the mean colour as in the paper, or at what another attack makes of the feature.
    It descends on plain pixels with TV as in the paper, or in the coordinates of a spectrum
    (`adversary.parts.spectrum`): of what the adversary's own images differ by from the start, or,
    where it has none, of natural images. Start, coordinates and weights are chosen together, by the
    pixels of the adversary's own validation images (`adversary.inversion.rmle.choice`); what is
    given is taken as it is.

    Knowing the defence (adaptive), noise that is fixed and granted becomes part of the model; with
    dropout last, elements that came as exact zeros are left out of the loss; and the settings are
    chosen under the defence. Unaware, none of this.

    Args:
        start: attack whose image it may begin at (decoder, psim or dci), also with settings of its
            own, "dci:epochs=8"; "mean" for the mean colour alone; None for "decoder" where queries
            or images are granted. It is fitted under the same grant and its time counts.
        steps: evaluations of the loss and its slope; None for `STEPS`. Papers take 500 to 20,000 of
            Adam: what still falls at the end is a doubt.
        learning_rate: of Adam, in normalised pixels a step; None for L-BFGS, which goes further in
            the same time.
        tv: weight of the total variation of normalised pixels; None to choose.
        spectral: whether it descends in the coordinates of a spectrum; None to choose, with Adam
            for plain pixels.
        near: weight of the mean squared distance to the start, of the coordinates where there are
            any; None to choose.
        l2: weight of the mean squared normalised pixel.
        box: whether Adam keeps pixels in [0, 1] throughout; the answer is in any case.
        relative: feature loss in units of the captured features' variance, so that a weight means
            the same at every split point; the papers' presets are absolute.
        choose_images: validation images to choose on, None for `CHOOSE_IMAGES`; 0 takes
            `UNCHOSEN`.
        choose_steps: steps of each trial, None for `CHOOSE_STEPS`. The best are tried again in
            full. On large images these three, where not given, are cut (`adversary.parts.budget`).
    """

    name: ClassVar[str] = "rmle"
    source: ClassVar[str] = "He, Zhang, Lee 2019, ACSAC, section 4.1, equation 5"
    version: ClassVar[int] = 2  # it had no start, chose by features, and a rate of Adam
    fitted_on: ClassVar[FittedOn] = "nothing"
    asks: ClassVar[Mapping[str, frozenset[str]]] = {
        "undefended": frozenset({"head", "observe"}),
        "adaptive": frozenset({"head", "defense", "observe"}),
        "unaware": frozenset({"head"}),
    }
    presets: ClassVar[Mapping[str, Preset]] = PRESETS

    start: Annotated[str, Field(description="attack to begin at")] | None = None
    steps: Steps | None = None
    learning_rate: LearningRate | None = None
    tv: Weight | None = None
    spectral: bool | None = None
    near: Weight | None = None
    l2: Weight = 0.0
    box: bool = True
    relative: bool = True
    choose_images: Annotated[int, Field(ge=0, le=64, description="validation images")] | None = None
    choose_steps: Steps | None = None

    @field_validator("start")
    @classmethod
    def _a_start(cls, start: str | None) -> str | None:
        return None if start is None else start_written(start)

    @field_validator("near")
    @classmethod
    def _near_a_start(cls, near: float | None, others: ValidationInfo) -> float | None:
        plain = others.data.get("spectral") is False or others.data.get("learning_rate") is not None
        if near and plain and others.data.get("start") == MEAN:
            raise ValueError("with start=mean there is no start to stay near; leave near out")
        return near

    @field_validator("spectral")
    @classmethod
    def _without_adam(cls, spectral: bool | None, others: ValidationInfo) -> bool | None:
        if spectral and others.data.get("learning_rate") is not None:
            raise ValueError("Adam descends on plain pixels; leave spectral or learning_rate out")
        return spectral

    @property
    def starts_from(self) -> tuple[Attack, ...]:
        start = start_attack(self.start or "decoder")
        return () if start is None else (start,)

    def check(self, threat: ThreatModel) -> None:
        for start in self.starts_from if self.start is not None else ():
            start.check(threat)

    def fit(self, threat: ThreatModel, rng: torch.Generator, work: Workplace = ALONE) -> Estimator:
        # seconds of work start again after a kill: there is nothing to keep
        place = work.place
        head: nn.Module = threat.need("head", f"attack {self.name!r}")
        # A copy with its batch norms folded in: the same function at two thirds of the time.
        head = fold_batch_norm(copy.deepcopy(head)).to(place)
        head = head.to(memory_format=torch.channels_last)
        draw = torch.Generator().manual_seed(seed_of(rng))
        sure, lossy = certain(threat), loses_elements(threat)

        def model(images: Tensor) -> Tensor:
            return sure(head(images), draw)

        def counts(feature: Tensor) -> Tensor | None:
            return (feature != 0).to(feature) if lossy else None

        given = threat.input or InputSpec()
        watch = work.progress
        begin = starting(start_of(self.start, threat), threat, work)
        settings, spectra, told = self._settings(threat, head, model, counts, begin, draw, watch)

        def reconstruct(observed: Features) -> Estimate:
            unit = self._unit(observed.features)
            task = watch.task(self.name, max(settings.steps, 1) * len(observed.ids))
            matches, started = [], begin if settings.started else None
            doubts: dict[str, None] = {}
            for z in observed.features.split(rows_at_once(given.size)):
                first = started(z).to(place) if started is not None else None
                doubts.update(dict.fromkeys(started.doubts if started is not None else ()))
                z = z.to(place)
                rows, own, told_of = [settings] * len(z), counts(z), task.advance
                matches.append(
                    match_features(model, z, rows, given, draw, own, unit, told_of, first, spectra)
                )
            task.close()
            found = estimate_of(settings, matches, unit / _variance(observed.features))
            found.extra.update(told)
            found.doubts.extend(f"its start, {told['start']}: {doubt}" for doubt in doubts)
            effort, full = self.effort(given.size), self.effort(FULL_SIZE)
            if effort != full:
                found.doubts.append(cut_to_budget(effort, full, given.size))
                found.extra["budget"] = effort._asdict()
            return found

        return reconstruct

    def effort(self, size: int) -> Descent:
        """What it does on images of `size` pixels a side; what was given is done in full."""
        full = Descent(STEPS, CHOOSE_IMAGES, CHOOSE_STEPS)
        cut = Descent(
            descent_steps(full.steps, LEAST_STEPS, size),
            min(full.choose_images, 1) if size > FULL_SIZE else full.choose_images,
            descent_steps(full.choose_steps, LEAST_TRIAL_STEPS, size),
        )
        given = (self.steps, self.choose_images, self.choose_steps)
        return Descent(*(own if one is None else one for one, own in zip(given, cut, strict=True)))

    def _settings(
        self,
        threat: ThreatModel,
        head: nn.Module,
        model: Callable[[Tensor], Tensor],
        counts: Callable[[Tensor], Tensor | None],
        begin: Starter | None,
        draw: torch.Generator,
        watch: Progress,
    ) -> tuple[MatchingSettings, Spectra | None, dict[str, Any]]:
        """The settings of the descent, its spectra, and what a record tells of their choice."""
        effort = self.effort((threat.input or InputSpec()).size)
        offered = start_of(self.start, threat)
        told: dict[str, Any] = {"start": offered, "start_offered": offered}
        if (other := start_attack(offered)) is not None:
            told["start_version"] = other.version
        spectral = self.learning_rate is None and self.spectral is not False
        unchosen = UNCHOSEN_SPECTRAL if spectral else UNCHOSEN
        tv, near = (
            usual if told_so is None else told_so
            for told_so, usual in zip((self.tv, self.near), unchosen, strict=True)
        )
        near = 0.0 if begin is None and not spectral else near
        kept, rate, begun = effort.steps, self.learning_rate, begin is not None
        base = MatchingSettings(kept, rate, tv, self.l2, self.box, near, begun, spectral)
        place = next(head.parameters(), torch.empty(0)).device
        spectra = spectra_of(threat, head, begin, place, draw) if spectral else None
        held_out = threat.aux.validation if threat.aux is not None else None
        brief = replace(base, steps=effort.choose_steps)
        options = options_of(brief, self.tv, self.near, self.spectral, started=begun)
        if not effort.choose_images or held_out is None or not len(held_out) or len(options) == 1:
            return base, spectra, told
        confirming = max(2, effort.choose_images) if begun else 0
        images = held_out.take(effort.choose_images + confirming).floats(place)
        images = images[torch.randperm(len(images), generator=draw).to(place)]
        with torch.no_grad():
            clean = head(images)
            seen = believed(threat, tuple(clean.shape[1:]))(clean, draw)
        first = begin(seen).to(place) if begin is not None else None
        tried = len(options) * effort.choose_steps + most_finalists(options) * effort.steps
        total = tried * effort.choose_images + confirming * effort.steps
        steps = TrialSteps(watch.task(f"{self.name}: settings", total))
        own = (seen, images, first, spectra, counts(seen))
        unit = (threat.input or InputSpec(), self._unit(seen))
        whole = Bench(model, *own, *unit, draw, steps.advance)
        some, others = whole.parted(effort.choose_images)
        found = choose(some, options, effort.steps, others)
        steps.close()
        if steps.ended:  # in a rehearsal, whose trials are too short to tell that the start is best
            return base, spectra, told
        told["start"] = offered if found.settings.started else MEAN
        return found.settings, spectra, {**told, "chosen_by_psnr": found.decibels}

    def _unit(self, feature: Tensor) -> float:
        return _variance(feature) if self.relative else 1.0


def _variance(feature: Tensor) -> float:
    return max(float(feature.var()), 1e-12)
