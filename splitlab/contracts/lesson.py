"""What a defence may say of the training of the network that it protects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from splitlab.contracts.arch import ArchSpec

LessonRows = Tensor | Sequence[Tensor]
Sampler = Callable[[int, torch.Generator], LessonRows]
"""(rows, generator) -> int64 rows of one epoch in their order, or in batches that stand already."""
NamedParameters = Sequence[tuple[str, nn.Parameter]]


class LabelledImages(Protocol):
    """Images uint8 [N, 3, S, S] and their labels int64 [N], such as an `ImageSet`."""

    @property
    def images(self) -> Tensor: ...

    @property
    def labels(self) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Task:
    """What is trained: a defence looks at it and leaves it as it is.

    Args:
        arch: the network as the defences want it built.
        head_end, tail_start: where the client's head ends and its tail begins.
        epochs, batch_size: the recipe's.
        rows: number of training images.
        net: the untrained network with the names of its library, without its normalisation.
    """

    arch: ArchSpec
    head_end: str
    tail_start: str | None
    epochs: int
    batch_size: int
    rows: int
    net: nn.Module


def _every(_name: str) -> bool:
    return True


@dataclass(frozen=True)
class Phase:
    """One stretch of training. One optimiser and one schedule run through all phases; a phase that
    brings its own leaves those where they stand.

    Args:
        name: shown in the progress bar and in the record.
        epochs: passes over the training images.
        trainable: says of a name in the network's own `named_parameters` whether it is trained.
            What belongs to a protector or to a defence's own modules is trained in every phase.
        variants: changes of scalars in place at the start of the phase, as in `ArchSpec.variants`
            ({"skip": {"layer4": 0.0}}). They stay for the phases after it and for the deployment.
        images: what is trained on, in place of the task's.
        frozen: paths of modules that neither learn nor change their statistics; dropout rests too.
        optimizer: (name, parameter) of what is trained -> an optimiser of this phase's own.
        schedule: steps of this phase -> (step -> share of the learning rate).
        sampler: in place of a fresh permutation an epoch.
    """

    name: str
    epochs: int
    trainable: Callable[[str], bool] = _every
    variants: Mapping[str, Any] = field(default_factory=dict)
    images: LabelledImages | None = None
    frozen: tuple[str, ...] = ()
    optimizer: Callable[[NamedParameters], Optimizer] | None = None
    schedule: Callable[[int], Callable[[int], float]] | None = None
    sampler: Sampler | None = None


@dataclass(frozen=True, eq=False)
class Trace:
    """One step of training, as a defence's objective sees it; gradients flow through all of it.

    Args:
        images: [B, 3, S, S] in [0, 1], augmented.
        labels: int64 [B], or shares of each class [B, classes] where images were mixed.
        logits: [B, classes].
        watched: path of a module -> its output, before any protection.
        modules: what this defence's own `modules` made, by its names.
        epoch: from 0, counted through all phases.
    """

    images: Tensor
    labels: Tensor
    logits: Tensor
    watched: Mapping[str, Tensor] = field(default_factory=dict)
    modules: Mapping[str, nn.Module] = field(default_factory=dict)
    epoch: int = 0


class Trainer(NamedTuple):
    """How the network is trained when a defence has laid its hands on it.

    Args:
        net: what is called with images; its parameters are the network's.
        optimizer: steps on the objective.
        sampler: None for a fresh permutation an epoch.
        facts: called after training; JSON values for the record (an accountant's epsilon).
    """

    net: nn.Module
    optimizer: Optimizer
    sampler: Sampler | None = None
    facts: Callable[[], Mapping[str, Any]] = dict


class Teaches(Protocol):
    """A defence, or a stack of them, as the one training path reads it."""

    def modules(self, task: Task) -> Mapping[str, nn.Module]: ...

    def watches(self, task: Task) -> Sequence[str]: ...

    def phases(self, task: Task) -> Sequence[Phase] | None: ...

    def objective(self, trace: Trace) -> Tensor | None: ...

    def train_with(self, net: nn.Module, optimizer: Optimizer, task: Task) -> Trainer: ...


class Lesson(NamedTuple):
    """A defence and what it is trained with."""

    defense: Teaches
    task: Task
