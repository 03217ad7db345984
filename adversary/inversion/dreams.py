"""DeepDream and DeepInversion on captured features: rivals of DCI (Dong et al., Table 2).

Neither method was made to find one image. What they draw images to is the class that the server
finds in the capture, and what natural images are like; DeepInversion also has the statistics of the
batch norms (Yin et al. 2020, "Dreaming to Distill", equations 2 to 4).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from adversary.contract.attack import Attack, FittedOn, Preset, seed_of
from adversary.contract.threat import ThreatModel
from adversary.contract.workplace import ALONE, Estimator, Workplace
from adversary.synthesis.batch_norm_gap import BatchNormGap
from adversary.synthesis.settings import Beta, SynthesisSettings
from adversary.synthesis.synthesis import Known, Wish, synthesise
from splitlab.contracts import Estimate, Features
from splitlab.contracts.ranges import LearningRate, Probability, Steps, Weight

ROWS = 128
"""Images that are drawn together, sharing their statistics."""
ASKS: Mapping[str, frozenset[str]] = {
    "undefended": frozenset({"head", "bodies", "tail"}),
    "unaware": frozenset({"head", "bodies", "tail"}),
}
"""Nothing in these methods would use what is known of a defence."""


IMAGENET: Mapping[str, Any] = {
    "steps": 20_000,
    "warm_up": 100,
    "learning_rate": 0.25,
    "beta1": 0.9,
    "beta2": 0.999,
    "clip": False,
    "tv": 1e-4,
    "l2": 1e-5,
    "roll": 30,
}
"""For 224 pixels: setting 2 of NVlabs/DeepInversion, which knows no half size."""


class DeepInversion(Attack):
    """Noise that is drawn to the capture's class and to the statistics of the batch norms.

    The class is the top one that body and tail find in the captured feature. Without one body and
    the tail there is none, and only the statistics of the head are left.

    Args:
        statistics: weight of the batch norms' gap.
        classes: weight of the cross-entropy to the class of the capture.
        feature: weight of the squared difference to the captured feature, in units of its variance.
            The published method has no such term; with it (preset "feature") the pixels are not
            shifted or mirrored while they are drawn.
        half_steps, warm_up, beta1, beta2, first, tv, l2, roll, flip, clip: see `SynthesisSettings`.
    """

    name: ClassVar[str] = "di"
    source: ClassVar[str] = "Yin et al. 2020, Dreaming to Distill, section 3"
    learns: ClassVar[bool] = False
    fitted_on: ClassVar[FittedOn] = "nothing"
    asks: ClassVar[Mapping[str, frozenset[str]]] = ASKS
    presets: ClassVar[Mapping[str, Preset]] = {
        "feature": Preset(
            {"feature": 1.0, "roll": 0, "flip": 0.0}, "the lab's: matches the feature as well"
        ),
        "dong": Preset(
            {**IMAGENET, "statistics": 0.01, "first": 10.0},
            "NVlabs/DeepInversion, ImageNet, setting 2: the 20K steps of Dong et al., section 4.2",
        ),
    }

    steps: Steps = 1000
    half_steps: Annotated[int, Field(ge=0, le=1_000_000, description="at half the size")] = 0
    warm_up: Annotated[int, Field(ge=0, le=1_000_000, description="steps")] = 0
    first: Weight = 1.0
    learning_rate: LearningRate = 0.1
    beta1: Beta = 0.5
    beta2: Beta = 0.9
    statistics: Weight = 1.0
    classes: Weight = 1.0
    feature: Weight = 0.0
    tv: Weight = 1e-3
    l2: Weight = 1e-5
    roll: Annotated[int, Field(ge=0, le=1024, description="pixels")] = 2
    flip: Probability = 0.5
    clip: bool = True

    def check(self, threat: ThreatModel) -> None:
        if self.statistics:
            BatchNormGap(Known.of(threat).modules)

    def fit(self, threat: ThreatModel, rng: torch.Generator, work: Workplace = ALONE) -> Estimator:
        # nothing is learned before the capture, so that there is nothing to keep
        place, seed = work.place, seed_of(rng)
        known, watch = Known.of(threat), work.progress

        def reconstruct(observed: Features) -> Estimate:
            task = watch.task(self.name, (self.half_steps + self.steps) * len(observed.ids))
            found, told = [], []
            for number, part in enumerate(observed.features.split(ROWS)):
                batch = synthesise(
                    known,
                    self._settings(known, len(part)),
                    seed=seed,
                    number=number,
                    device=place,
                    work=task,
                    wish=self._wish(known, part, place),
                )
                found.append(batch.images)
                told.append(batch.facts)
            task.close()
            facts: dict[str, Any] = {
                "learned_from": "nothing",
                "drawn_to": "class of the capture" if known.whole else "statistics of the head",
                "batches": told,
            }
            return Estimate(torch.cat(found), self._doubts(known), facts)

        return reconstruct

    def _settings(self, known: Known, count: int) -> SynthesisSettings:
        own = self.model_dump(exclude={"feature"})
        classes = self.classes if known.whole else 0.0
        return SynthesisSettings(**{**own, "batch_size": count, "classes": classes})

    def _wish(self, known: Known, feature: Tensor, place: torch.device) -> Wish:
        """What a part of the capture is drawn to: the top class that body and tail find in it."""
        classes = None
        if known.whole:
            with torch.no_grad():
                classes = nn.Sequential(*known.modules[1:])(feature).argmax(1)
        return Wish(classes, feature.to(place), self.feature)

    def _doubts(self, known: Known) -> list[str]:
        if known.whole or self.feature:
            return []
        return ["nothing of the single capture was used: body and tail are not both granted"]


class DeepDream(DeepInversion):
    """The same without batch norms: class, smoothness, shifts.

    Where the class cannot be known, images are drawn to large features, as the first dreams were.
    """

    name: ClassVar[str] = "ddream"
    source: ClassVar[str] = "Mordvintsev et al. 2015, Inceptionism; as used by Dong et al., Table 2"
    presets: ClassVar[Mapping[str, Preset]] = {
        "dong": Preset(
            IMAGENET, "the same sizes and regularisers; 20K steps as in Dong et al., section 4.2"
        ),
    }

    statistics: Weight = 0.0

    def _wish(self, known: Known, feature: Tensor, place: torch.device) -> Wish:
        wish = super()._wish(known, feature, place)
        return Wish(wish.classes, wish.feature, wish.weight, norm=0.0 if known.whole else 1.0)
