"""A small network, a few images and a way to train them under a defence."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn

from splitlab.contracts import ArchSpec, Defense, InputSpec, Lesson, Task
from splitlab.contracts.lesson import Teaches
from splitlab.data import ImageSet
from splitlab.models import build
from splitlab.training import History, TrainRecipe, train_classifier

ARCH = ArchSpec(name="resnet8", classes=3, input=InputSpec(size=16))
RECIPE = TrainRecipe(epochs=2, batch_size=16, learning_rate=0.02)
ROWS = 48


def images(count: int = ROWS, seed: int = 0) -> ImageSet:
    """Noise whose mean colour is its class."""
    source = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    pixels = torch.randint(0, 100, (count, 3, 16, 16), generator=source)
    pixels[torch.arange(count), labels] += 100
    return ImageSet(pixels.to(torch.uint8), labels, ("a", "b", "c"), torch.arange(count))


def network(arch: ArchSpec = ARCH) -> Any:
    return build(arch, seed=0)


def lesson(defense: Teaches, net: Any, recipe: TrainRecipe = RECIPE) -> Lesson:
    task = Task(ARCH, "layer1", None, recipe.epochs, recipe.batch_size, ROWS, net.net)
    return Lesson(defense, task)


def trained(
    defense: Teaches, net: Any = None, recipe: TrainRecipe = RECIPE, **how: Any
) -> tuple[nn.Module, History]:
    """The network without its normalisation, and what its training told."""
    net = net or network()
    taught = lesson(defense, net, recipe)
    history = train_classifier(net, images(), recipe, device="cpu", lesson=taught, **how)
    return net.net, history


def state_of(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


def changed(first: dict[str, torch.Tensor], then: dict[str, torch.Tensor]) -> set[str]:
    """Names of the tensors that differ."""
    return {name for name in first if not torch.equal(first[name], then[name])}


class Nothing(Defense):
    """A defence without hooks."""

    name: ClassVar[str] = "nothing"
