"""DRAG (Lei et al. 2025, "DRAG: Data Reconstruction Attack using Guided Diffusion", ICML,
arXiv:2509.11724): images of a diffusion prior, steered by the distance of their features.

What is published and what is ours of the sampler stands in `adversary.inversion.drag.sampler`. The
paper's priors are trained on millions of images; here a small one is learned from the adversary's
own, or a folder of the `diffusers` library is named.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from adversary.contract.attack import Attack, Preset, seed_of
from adversary.contract.believed import believed, certain, loses_elements
from adversary.contract.threat import AuxImages, ThreatModel
from adversary.contract.workplace import ALONE, Estimator, Workplace
from adversary.inversion.decoder import Decoder
from adversary.inversion.drag.choice import (
    LARGE_TRIED,
    STRENGTHS,
    TRIED_IMAGES,
    UNCHOSEN,
    StrengthTrial,
    choose_strength,
)
from adversary.inversion.drag.doubts import DiffusionEffort, cut, doubts_of, few, whole
from adversary.inversion.drag.feature_noise import noise_of
from adversary.inversion.drag.folder import hash_of_prior, network_folder, read_prior
from adversary.inversion.drag.inverting import PriorInverter, unit_of
from adversary.inversion.drag.presets import PRESETS
from adversary.inversion.drag.sampler import Distance, GuidanceSettings
from adversary.inversion.drag.schedule import ScheduleName
from adversary.inversion.drag.training import DiffusionPrior, PriorTraining, train_prior
from adversary.inversion.rmle.start import start_of, starting
from adversary.parts.budget import FULL_SIZE, LEARNED_PIXELS, descent_steps
from splitlab.contracts import Estimate, Features, InputSpec
from splitlab.contracts.ranges import BatchSize, LearningRate, Probability, Steps, Weight
from splitlab.pieces import in_pieces
from splitlab.split.folding import fold_batch_norm
from splitlab.training import Progress

STEPS, TRAIN_STEPS = 50, 1500
"""Where they are not given, on images of up to `FULL_SIZE`."""
LEAST_VISITED, LEAST_TRAINED = 20, 50
"""Fewer they are not cut to."""


class Drag(Attack):
    """A diffusion prior, and guided samples of it; the mean of several is the answer.

    Against noise that is fixed and granted, and against dropout, as `rmle`.

    Args:
        prior: folder of a prior (`adversary.inversion.drag.folder`); None to learn one.
        start: "noise" as published, or "decoder" for that attack's image under noise (the paper's
            DRAG++, which has an inverse network of its own); None for "decoder" where queries or
            images are granted.
        strength: of the noise that a start is put under, as a share of the schedule; 0 leaves it
            as it is, None to choose on validation images (`adversary.inversion.drag.choice`).
        steps: times that are visited; None for `STEPS`.
        recurrence: updates at each.
        inner: evaluations of the descent on the clean image at each update; 0 as published.
        noise: of features, for that descent, as a share of their variance; None for what the
            granted defence does to features of own images, and `LEAST_NOISE` at least.
        guidance: share of the slope in a step's noise; 0 for none, 0.2 as published.
        eta: share of DDPM's noise in a step.
        clip: longest slope.
        tv, l2: weights of roughness and size.
        distance: of features; the paper's is the cosine.
        samples: images whose mean is the answer: what they do not agree upon is left out.
        train_steps: of the prior; None for `TRAIN_STEPS`. On large images these and `steps`, where
            not given, are cut (`adversary.parts.budget`).
        batch_size, learning_rate, decay, width, schedule: of its training
            (`adversary.inversion.drag.training`).
    """

    name: ClassVar[str] = "drag"
    source: ClassVar[str] = "Lei et al. 2025, ICML, arXiv:2509.11724; ntuaislab/DRAG"
    shares: ClassVar[bool] = True
    asks: ClassVar[Mapping[str, frozenset[str]]] = {
        "undefended": frozenset({"head", "observe"}),
        "adaptive": frozenset({"head", "defense", "observe"}),
        "unaware": frozenset({"head"}),
    }
    presets: ClassVar[Mapping[str, Preset]] = PRESETS

    prior: str | None = None
    start: Literal["decoder", "noise"] | None = None
    strength: Probability | None = None
    steps: Steps | None = None
    recurrence: Annotated[int, Field(ge=1, le=1000, description="updates a step")] = 1
    inner: Annotated[int, Field(ge=0, le=1000, description="evaluations an update")] = 10
    noise: Annotated[float, Field(gt=0, allow_inf_nan=False, description="share")] | None = None
    guidance: Probability = 0.0
    eta: Annotated[float, Field(gt=0, le=1, description="share of DDPM's noise")] = 1.0
    clip: Annotated[float, Field(gt=0, allow_inf_nan=False, description="longest slope")] = 0.02
    tv: Weight = 0.0
    l2: Weight = 0.0
    distance: Distance = "squared"
    samples: Annotated[int, Field(ge=1, le=64, description="images averaged")] = 4
    train_steps: Steps | None = None
    batch_size: BatchSize = 32
    learning_rate: LearningRate = 1e-3
    decay: Annotated[float, Field(ge=0, lt=1, description="of the moving average")] = 0.999
    width: Annotated[int, Field(ge=8, le=512, multiple_of=8, description="channels")] = 32
    schedule: ScheduleName = "linear"

    @property
    def starts_from(self) -> tuple[Attack, ...]:
        return () if self.start == "noise" else (Decoder(),)

    def told(self) -> dict[str, Any]:
        found = super().told()
        if self.prior is not None and Path(self.prior).expanduser().is_dir():
            found["prior"] = hash_of_prior(self.prior)
        return found

    def check(self, threat: ThreatModel) -> None:
        if self.prior is not None:
            network_folder(self.prior)
        threat.need("head", f"attack {self.name!r}")

    def fit(self, threat: ThreatModel, rng: torch.Generator, work: Workplace = ALONE) -> Estimator:
        place = work.place
        learn, seed = seed_of(rng), seed_of(rng)  # the first is the same at every cut
        head: nn.Module = threat.need("head", f"attack {self.name!r}")
        size = (threat.input or InputSpec()).size
        prior, doubts = self._prior(threat, size, learn, work)
        head = fold_batch_norm(copy.deepcopy(head)).to(place).requires_grad_(False)
        draw = torch.Generator().manual_seed(seed)
        sure, lossy = certain(threat), loses_elements(threat)
        decoded = self.start != "noise" and start_of(self.start, threat) == "decoder"
        begin = starting("decoder" if decoded else "mean", threat, work)
        settings = self._guidance(size, self.noise or noise_of(threat, head, sure, draw))

        def model(images: Tensor) -> Tensor:
            return sure(head(images), draw)

        inverter = PriorInverter(
            prior, model, settings, begin, self.samples, size, lossy, seed, place
        )
        strength, reached = 1.0, dict[str, float]()
        if begin is not None:
            strength, reached = self._strength(inverter, threat, head, draw, work.progress)

        def reconstruct(observed: Features) -> Estimate:
            seen, unit = observed.features, unit_of(observed.features)
            total = max(1, inverter.updates(strength) * len(observed.ids))
            task = work.progress.task(self.name, total)
            start, unlike = inverter.started(seen)
            found = inverter.invert(seen, start, strength, unit, task.advance)
            task.close()
            images, lost = whole(found.images, start)
            loss = inverter.loss(images, seen, unit)
            before = None if start is None else inverter.loss(start, seen, unit)
            own = doubts_of(loss, before if strength else None, lost, found.blind)
            extra = {
                **asdict(replace(settings, strength=strength)),
                "start": "decoder" if decoded else "noise",
                "samples": self.samples,
                "feature_loss": loss,
                "start_feature_loss": before,
                "prior": dict(prior.facts),
            }
            if reached:
                extra["chosen_by_psnr"] = reached
            begun = [f"its start, decoder: {doubt}" for doubt in unlike]
            return Estimate(images.cpu(), [*doubts, *own, *begun], extra)

        return reconstruct

    def _strength(
        self,
        inverter: PriorInverter,
        threat: ThreatModel,
        head: nn.Module,
        draw: torch.Generator,
        watch: Progress,
    ) -> tuple[float, dict[str, float]]:
        """Of the noise that the start is put under, and what each reached where it was chosen."""
        held_out = threat.aux.validation if threat.aux is not None else None
        if self.strength is not None:
            return self.strength, {}
        if held_out is None or len(held_out) < 2:
            return UNCHOSEN, {}
        count = TRIED_IMAGES if inverter.size <= FULL_SIZE else LARGE_TRIED
        truth = held_out.take(count).floats(inverter.place)
        with torch.no_grad():
            clean = in_pieces(head, truth, inverter.piece)
            seen = believed(threat, tuple(clean.shape[1:]))(clean, draw)
        start, _ = inverter.started(seen)
        assert start is not None
        trial = StrengthTrial(watch, sum(map(inverter.updates, STRENGTHS)) * len(truth))

        def sampled(strength: float) -> Tensor:
            if trial.ended:
                return start
            return inverter.invert(seen, start, strength, unit_of(seen), trial.advance).images

        found, reached = choose_strength(sampled, truth, start)
        trial.close()
        return (UNCHOSEN, {}) if trial.ended else (found, reached)

    def learned_images(self, pairs: int, size: int) -> int | None:
        if self.prior is not None:
            return 0
        return self._training(size).epochs(pairs) * pairs

    def effort(self, size: int) -> DiffusionEffort:
        """What it does on images of `size` pixels a side; what was given is done in full."""
        learned = TRAIN_STEPS
        if size > FULL_SIZE:
            affordable = LEARNED_PIXELS // (self.batch_size * size**2)
            learned = min(TRAIN_STEPS, max(LEAST_TRAINED, affordable))
        steps = descent_steps(STEPS, LEAST_VISITED, size)
        return DiffusionEffort(self.steps or steps, self.train_steps or learned)

    def _guidance(self, size: int, noise: float) -> GuidanceSettings:
        steps = self.effort(size).steps
        own = {name: getattr(self, name) for name in GuidanceSettings.__dataclass_fields__}
        own |= {"steps": steps, "noise": noise, "strength": self.strength or 1.0}
        return GuidanceSettings(**own)

    def _training(self, size: int) -> PriorTraining:
        return PriorTraining(
            self.effort(size).train_steps,
            self.batch_size,
            self.learning_rate,
            self.decay,
            self.width,
            self.schedule,
        )

    def _prior(
        self, threat: ThreatModel, size: int, seed: int, work: Workplace
    ) -> tuple[DiffusionPrior, list[str]]:
        """The prior, and what is doubtful of it and of the effort."""
        effort, full = self.effort(size), self.effort(FULL_SIZE)
        doubts = [cut(effort, full, size)] if effort != full else []
        if self.prior is not None:
            return read_prior(self.prior, work.place), doubts
        own: AuxImages = threat.need("aux", f"attack {self.name!r}")
        found = train_prior(own.images.images, self._training(size), seed=seed, work=work)
        doubts += few(len(own.images))
        return found._replace(facts={**found.facts, **own.facts}), doubts
