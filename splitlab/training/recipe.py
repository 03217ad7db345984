"""How a classifier is trained: numbers with ranges, and the default for 32x32 images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from splitlab.contracts.ranges import BatchSize, Epochs, LearningRate, Weight
from splitlab.training.augment import Augment, Jitter, Mix
from splitlab.training.source import batch_count

Momentum = Annotated[float, Field(ge=0, lt=1, description="momentum of SGD")]
Smoothing = Annotated[float, Field(ge=-1, lt=1, description="label smoothing, of either sign")]
Warmup = Annotated[float, Field(ge=0, lt=1, description="share of the steps that warm up")]
Shift = Annotated[int, Field(ge=0, le=64, description="largest random shift in pixels")]
Moment = Annotated[float, Field(gt=0, lt=1, description="share of the steps that are gone")]
Decay = Annotated[float, Field(gt=0, lt=1, description="factor at each milestone")]
Area = Annotated[float, Field(gt=0, le=1, description="smallest share of the area in a crop")]
Amount = Annotated[float, Field(ge=0, le=1, description="largest change of colours")]
Alpha = Annotated[float, Field(ge=0, le=100, description="of Beta(alpha, alpha); 0 for none")]

Reached = Annotated[
    float, Field(gt=0, le=1, description="share of clean training images told rightly")
]

LATER = frozenset(
    {
        *("optimizer", "nesterov", "milestones", "decay", "crop", "jitter", "mixup", "cutmix"),
        *("until", "decay_norms"),
    }
)
"""Fields younger than records that have none of them: not written while at their defaults."""


class TrainRecipe(BaseModel):
    """An optimiser under a schedule, on augmented images.

    The defaults are quick ones for photo-patches, tuned on its validation crops with ResNet-20;
    its crops lie at random places already, so that a shift only slows learning. For thousands of
    images a class take `LONG`; those of papers are in `presets`.

    Args:
        momentum, nesterov: of SGD alone; Adam and AdamW have betas 0.9 and 0.999.
        weight_decay: of "adamw" decoupled.
        decay_norms: it acts on norms and biases too, as where a paper's code hands an optimiser
            all parameters alike; else they are spared.
        until: training ends with the first epoch after which this share of the training images, as
            they are, is told rightly; `epochs` are the most there are, and what a schedule spans.
            Refused where a defence trains in several phases, or on other images.
        milestones, decay: shares of the steps at which "multi-step" multiplies the rate by `decay`.
        crop: smallest share of the area that a crop keeps; 1 crops nothing.
        jitter: brightness, contrast, saturation (factors 1 +- it) and hue (turns, at most 0.5).
        mixup, cutmix: alpha of the share of each image that is its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: Epochs = 2
    batch_size: BatchSize = 32
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rate: LearningRate = 0.05
    momentum: Momentum = 0.9
    nesterov: bool = True
    weight_decay: Weight = 5e-4
    schedule: Literal["triangle", "cosine", "multi-step", "constant"] = "triangle"
    warmup: Warmup = 0.25
    milestones: tuple[Moment, ...] = (0.75, 0.9)
    decay: Decay = 0.1
    label_smoothing: Smoothing = 0.0
    shift: Shift = 0
    flip: bool = True
    crop: Area = 1.0
    jitter: tuple[Amount, Amount, Amount, Amount] = (0.0, 0.0, 0.0, 0.0)
    mixup: Alpha = 0.0
    cutmix: Alpha = 0.0
    until: Reached | None = None
    decay_norms: bool = False

    @field_validator("jitter")
    @classmethod
    def _half_a_circle(cls, jitter: tuple[float, ...]) -> tuple[float, ...]:
        if jitter[3] > 0.5:
            raise ValueError(f"a hue jitter of {jitter[3]} turns; at most 0.5 is the whole circle")
        return jitter

    @model_serializer(mode="wrap")
    def _as_before(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without later fields at their defaults, so that what a recipe hashes to stays."""
        fields = type(self).model_fields
        plain = {name for name in LATER if getattr(self, name) == fields[name].default}
        return {name: value for name, value in write(self).items() if name not in plain}

    @property
    def augment(self) -> Augment | None:
        jitter = Jitter(*self.jitter) if any(self.jitter) else None
        mix = Mix(self.mixup, self.cutmix) if self.mixup or self.cutmix else None
        some = self.shift or self.flip or self.crop < 1 or jitter or mix
        return Augment(self.shift, self.flip, self.crop, jitter, mix) if some else None

    def factor(self, steps: int) -> Callable[[int], float]:
        """Step -> share of the learning rate, for a run of `steps` steps.

        All schedules rise linearly over the first `warmup` of the steps; then "triangle" falls
        linearly and "cosine" by half a cosine, both towards 0, "multi-step" falls at its
        milestones, and "constant" stays.
        """
        rise = max(1, round(self.warmup * steps))
        falls = [round(moment * steps) for moment in self.milestones]

        def share(step: int) -> float:
            if step < rise and self.warmup:
                return (step + 1) / rise
            if self.schedule == "multi-step":
                return float(self.decay ** sum(step >= fall for fall in falls))
            gone = min(1.0, (step + 1 - rise) / max(1, steps + 1 - rise))
            if self.schedule == "triangle":
                return 1 - gone
            return (1 + math.cos(math.pi * gone)) / 2 if self.schedule == "cosine" else 1.0

        return share

    def optimizer_of(
        self, parameters: Iterable[Tensor], stacked: Iterable[Tensor] = ()
    ) -> Optimizer:
        """Over those of `parameters` that are trained; `decay_norms` for norms and biases.

        Args:
            stacked: parameters of many networks of one shape, [networks, ...] each.
        """
        trained = [(p, p.ndim) for p in parameters if p.requires_grad]
        trained += [(p, p.ndim - 1) for p in stacked if p.requires_grad]
        norms = self.weight_decay if self.decay_norms else 0.0
        groups = [
            {"params": [p for p, n in trained if n > 1], "weight_decay": self.weight_decay},
            {"params": [p for p, n in trained if n <= 1], "weight_decay": norms},
        ]
        groups = [group for group in groups if group["params"]]
        if self.optimizer != "sgd":
            return (Adam if self.optimizer == "adam" else AdamW)(groups, lr=self.learning_rate)
        nesterov = self.nesterov and self.momentum > 0
        return SGD(groups, lr=self.learning_rate, momentum=self.momentum, nesterov=nesterov)

    def scheduler(self, optimizer: Optimizer, rows: int) -> LambdaLR:
        """The schedule over all the steps that `rows` images take."""
        steps = self.epochs * batch_count(rows, self.batch_size)
        return LambdaLR(optimizer, self.factor(max(1, steps)))


LONG = TrainRecipe(epochs=30, batch_size=128, learning_rate=0.1, warmup=0.2, shift=4)
"""For CIFAR-10 and other sets of tens of thousands of images."""
