"""How a classifier is trained: numbers with ranges, and the default for 32x32 images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from splitlab.contracts.ranges import BatchSize, Epochs, LearningRate, Weight
from splitlab.training.augment import Augment
from splitlab.training.source import batch_count

Momentum = Annotated[float, Field(ge=0, lt=1, description="momentum of SGD")]
Smoothing = Annotated[float, Field(ge=0, lt=1, description="label smoothing")]
Warmup = Annotated[float, Field(ge=0, lt=1, description="share of the steps that warm up")]
Shift = Annotated[int, Field(ge=0, le=64, description="largest random shift in pixels")]


class TrainRecipe(BaseModel):
    """SGD with Nesterov momentum under a schedule.

    The defaults are quick ones for photo-patches, tuned on its validation crops with ResNet-20;
    its crops lie at random places already, so that a shift only slows learning. For thousands of
    images a class take `LONG`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: Epochs = 2
    batch_size: BatchSize = 32
    learning_rate: LearningRate = 0.05
    momentum: Momentum = 0.9
    weight_decay: Weight = 5e-4
    schedule: Literal["triangle", "cosine", "constant"] = "triangle"
    warmup: Warmup = 0.25
    label_smoothing: Smoothing = 0.0
    shift: Shift = 0
    flip: bool = True

    @property
    def augment(self) -> Augment | None:
        return Augment(self.shift, self.flip) if self.shift or self.flip else None

    def factor(self, steps: int) -> Callable[[int], float]:
        """Step -> share of the learning rate, for a run of `steps` steps.

        All schedules rise linearly over the first `warmup` of the steps; then "triangle" falls
        linearly and "cosine" by half a cosine, both towards 0, and "constant" stays.
        """
        rise = max(1, round(self.warmup * steps))

        def share(step: int) -> float:
            if step < rise and self.warmup:
                return (step + 1) / rise
            gone = min(1.0, (step + 1 - rise) / max(1, steps + 1 - rise))
            if self.schedule == "triangle":
                return 1 - gone
            return (1 + math.cos(math.pi * gone)) / 2 if self.schedule == "cosine" else 1.0

        return share

    def optimizer(self, parameters: Iterable[Tensor], stacked: Iterable[Tensor] = ()) -> Optimizer:
        """SGD over `parameters`; one-dimensional ones (norms, biases) are not decayed.

        Args:
            stacked: parameters of many networks of one shape, [networks, ...] each.
        """
        trained = [(p, p.ndim) for p in parameters if p.requires_grad]
        trained += [(p, p.ndim - 1) for p in stacked if p.requires_grad]
        groups = [
            {"params": [p for p, n in trained if n > 1], "weight_decay": self.weight_decay},
            {"params": [p for p, n in trained if n <= 1], "weight_decay": 0.0},
        ]
        return SGD(
            [group for group in groups if group["params"]],
            lr=self.learning_rate,
            momentum=self.momentum,
            nesterov=self.momentum > 0,
        )

    def scheduler(self, optimizer: Optimizer, rows: int) -> LambdaLR:
        """The schedule over all the steps that `rows` images take."""
        steps = self.epochs * batch_count(rows, self.batch_size)
        return LambdaLR(optimizer, self.factor(max(1, steps)))


LONG = TrainRecipe(epochs=30, batch_size=128, learning_rate=0.1, warmup=0.2, shift=4)
"""For CIFAR-10 and other sets of tens of thousands of images."""
