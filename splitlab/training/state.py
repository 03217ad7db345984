"""What a training run changes, by name, so that one loop and one checkpoint serve every method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from splitlab.contracts.lesson import Remembers


@dataclass(frozen=True, eq=False)
class State:
    """Named parts of a run; everything here is saved in a checkpoint, nothing else is.

    Args:
        modules: networks, whether or not they are trained; handed to `step`.
        optimizers: each steps on the loss of its own name.
        schedulers: each steps after the optimizer of its own name, once a batch.
        tensors: parameters and buffers that are in no module, e.g. the stacked weights of many
            shadow models (`torch.func.stack_module_state`), [models, ...] each. Changed in place;
            they must lie on the run's device already.
        generators: randomness of `step`, seeded anew by the loop at the start of every epoch from
            (seed, epoch, name), so that a resumed run draws what an unbroken one would.
        memories: what counts along, such as an accountant.
    """

    modules: Mapping[str, nn.Module]
    optimizers: Mapping[str, Optimizer]
    schedulers: Mapping[str, LRScheduler] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    generators: Mapping[str, torch.Generator] = field(default_factory=dict)
    memories: Mapping[str, Remembers] = field(default_factory=dict)

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers, strings and containers of them: what `weights_only` loading accepts."""
        return {
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "optimizers": {name: opt.state_dict() for name, opt in self.optimizers.items()},
            "schedulers": {name: s.state_dict() for name, s in self.schedulers.items()},
            "tensors": {name: value.detach() for name, value in self.tensors.items()},
            "memories": {name: dict(one.state_dict()) for name, one in self.memories.items()},
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Take over a `state_dict` of the same names and shapes, in place.

        Raises:
            KeyError, RuntimeError, ValueError: names or shapes differ.
        """
        for name, module in self.modules.items():
            module.load_state_dict(saved["modules"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(saved["optimizers"][name])
        for name, scheduler in self.schedulers.items():
            scheduler.load_state_dict(saved["schedulers"][name])
        for name, memory in self.memories.items():
            memory.load_state_dict(saved["memories"][name])
        with torch.no_grad():
            for name, value in self.tensors.items():
                value.copy_(saved["tensors"][name])
