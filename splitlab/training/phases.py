"""The phases of one training: one optimiser and one schedule run through all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from splitlab.contracts import Phase
from splitlab.data import ImageSet
from splitlab.errors import BadInput
from splitlab.models.variants import changes_in_place
from splitlab.training.hooks import inner, module_of
from splitlab.training.recipe import TrainRecipe
from splitlab.training.source import TensorSource, batch_count
from splitlab.training.state import State


class Course:
    """What is trained in each phase, how and how fast.

    Args:
        net: in train mode; what does not learn or rests already does so in every phase.
        beside: protectors and defences' own modules, trained in every phase.
        images: what is trained on where a phase brings nothing else.

    Raises:
        BadInput: a phase trains nothing, or wants a variant that is none in place.
        NotCuttable: a phase freezes what is no module.
    """

    def __init__(
        self,
        net: nn.Module,
        beside: Mapping[str, nn.Module],
        phases: Sequence[Phase],
        recipe: TrainRecipe,
        images: ImageSet,
    ) -> None:
        self.net, self.beside, self.phases, self.recipe = net, beside, phases, recipe
        self.resting = [module for module in net.modules() if not module.training]
        network = dict(inner(net).named_parameters())
        self.network = {name: p for name, p in network.items() if p.requires_grad}
        self.others = {
            f"{key}.{name}": parameter
            for key, module in beside.items()
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
        }
        self.sources = [
            images if one.images is None else TensorSource((one.images.images, one.images.labels))
            for one in phases
        ]
        self.trained = [self._trained(phase) for phase in phases]
        self.changes = [changes_in_place(inner(net), phase.variants) for phase in phases]
        shared = [n for n, phase in enumerate(phases) if phase.schedule is None]
        self.share = recipe.factor(max(1, sum(map(self._steps, shared))))
        self.starts = {n: sum(self._steps(m) for m in shared if m < n) for n in shared}

    def optimizer(self) -> Optimizer | None:
        """The recipe's, over what phases without their own train; None where all have theirs."""
        through = {
            name
            for phase, trained in zip(self.phases, self.trained, strict=True)
            if phase.optimizer is None
            for name in trained
        }
        every = {**self.network, **self.others}
        parameters = [parameter for name, parameter in every.items() if name in through]
        return self.recipe.optimizer_of(parameters) if parameters else None

    def begin(
        self, number: int, net: nn.Module, optimizer: Optimizer | None, draw: torch.Generator
    ) -> State:
        """Set the network up for phase `number`.

        Args:
            net: what is called with images; the network, or a wrapper around it.
            optimizer: the one that runs through.
        """
        phase, trained = self.phases[number], self.trained[number]
        for change in self.changes[number]:
            change()
        for name, parameter in {**self.network, **self.others}.items():
            parameter.requires_grad_(name in trained)
        net.train()
        for module in self.resting:
            module.training = False
        for path in phase.frozen:
            module_of(self.net, path).eval()
        if phase.optimizer is not None:
            optimizer = phase.optimizer(list(trained.items()))
        assert optimizer is not None  # a phase without its own has trained something
        for group in optimizer.param_groups:
            group["lr"] = group.get("initial_lr", group["lr"])
        modules = {"net": net, **self.beside}
        scheduler = LambdaLR(optimizer, self._share(number))
        return State(modules, {"net": optimizer}, {"net": scheduler}, {}, {"draw": draw})

    def _trained(self, phase: Phase) -> dict[str, nn.Parameter]:
        frozen = {
            id(parameter)
            for path in phase.frozen
            for parameter in module_of(self.net, path).parameters()
        }
        trained = {
            name: parameter
            for name, parameter in self.network.items()
            if phase.trainable(name) and id(parameter) not in frozen
        }
        trained |= self.others
        if not trained:
            raise BadInput(
                f"phase {phase.name!r} trains no parameter of the network; let `trainable` name "
                "some, such as those of its last layer"
            )
        return trained

    def _steps(self, number: int) -> int:
        rows = len(self.sources[number])
        return self.phases[number].epochs * batch_count(rows, self.recipe.batch_size)

    def _share(self, number: int) -> Callable[[int], float]:
        """Step of phase `number` -> share of the learning rate."""
        own = self.phases[number].schedule
        if own is not None:
            return own(max(1, self._steps(number)))
        start = self.starts[number]
        return lambda step: self.share(start + step)
