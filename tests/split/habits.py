"""Small networks with a habit, for tests of what may be cut."""

import itertools
from typing import Any

import torch
from torch import Tensor, nn

IMAGES = torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
SHAPE = (3, 8, 8)


class Habit(nn.Module):
    """A convolution, a habit, and a linear layer."""

    seen = 0

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.other = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
        self.drop, self.fc = nn.Dropout(0.5), nn.Linear(4 * 8 * 8, 5)
        self.register_buffer("count", torch.zeros(()))
        self.number, self.memory, self.ready = 0, None, False
        self.mean, self.counter = torch.zeros(4, 1, 1), itertools.count()
        self.source = torch.Generator().manual_seed(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.habit(self.conv(x)).flatten(1))

    def habit(self, x: Tensor) -> Tensor:
        raise NotImplementedError


def habit(function: Any) -> type[Habit]:
    return type(function.__name__, (Habit,), {"habit": function, "__module__": function.__module__})
