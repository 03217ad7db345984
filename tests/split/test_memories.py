"""Networks whose course follows images, chance, earlier calls or a mode are refused."""
# ruff: noqa: ARG001

import random
from typing import Any

import numpy
import pytest
import torch
from habits import SHAPE, Habit, habit
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from splitlab.errors import NotCuttable
from splitlab.split.trace.flow import follow

COUNT = 0


def by_image(self: Habit, x: Tensor) -> Tensor:
    return x * 2 if torch.any(x > 3) else x


def by_count(self: Habit, x: Tensor) -> Tensor:
    return x * 2 if x[x > 0.1].numel() > 300 else x


def by_places(self: Habit, x: Tensor) -> Tensor:
    return x * 2 if len(torch.nonzero(x > 0)) > 300 else x


def by_chance(self: Habit, x: Tensor) -> Tensor:
    return x * 2 if torch.rand(()).item() > 0.5 else x


def by_python_chance(self: Habit, x: Tensor) -> Tensor:
    return x * 2 if random.random() > 0.5 else x


def by_numpy_chance(self: Habit, x: Tensor) -> Tensor:
    return x * float(numpy.random.rand())


def by_seed(self: Habit, x: Tensor) -> Tensor:
    torch.manual_seed(3)
    return x + torch.rand(4, 8, 8)


def by_own_source(self: Habit, x: Tensor) -> Tensor:
    return x + torch.rand(4, 8, 8, generator=self.source)


def by_number(self: Habit, x: Tensor) -> Tensor:
    self.number += 1
    return x * 2 if self.number > 3 else x


def by_iterator(self: Habit, x: Tensor) -> Tensor:
    return x * 2 if next(self.counter) > 3 else x


def by_class(self: Habit, x: Tensor) -> Tensor:
    type(self).seen += 1
    return x * 2 if type(self).seen > 40 else x


def by_global(self: Habit, x: Tensor) -> Tensor:
    global COUNT
    COUNT += 1
    return x * 2 if COUNT > 40 else x


def by_buffer(self: Habit, x: Tensor) -> Tensor:
    self.count += 1
    return x * self.count


def by_new_buffer(self: Habit, x: Tensor) -> Tensor:
    self.count = self.count + 1
    return x * self.count


def by_running_mean(self: Habit, x: Tensor) -> Tensor:
    self.mean = 0.9 * self.mean + 0.1 * x.mean((0, 2, 3)).view(4, 1, 1)
    return x - self.mean


def by_memory(self: Habit, x: Tensor) -> Tensor:
    before, self.memory = self.memory, x.mean()
    return x if before is None else x + before


def by_first_call(self: Habit, x: Tensor) -> Tensor:
    if not self.ready:
        self.scale, self.ready = x.std(), True
    return x / self.scale


class Doubling(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        return out * 2 if func is torch.ops.aten.relu.default else out


def by_mode(self: Habit, x: Tensor) -> Tensor:
    with Doubling():
        return x.relu()


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (by_image, "depends on numbers"),
        (by_count, "a shape that hangs on them"),
        (by_places, "a shape that hangs on them"),
        (by_chance, "depends on random numbers"),
        (by_python_chance, "random numbers in Python or NumPy"),
        (by_numpy_chance, "random numbers in Python or NumPy"),
        (by_seed, "sets the seed"),
        (by_own_source, "from a generator of its own"),
        (by_number, "number changes from call to call"),
        (by_iterator, "counter changes from call to call"),
        (by_class, r"by_class.seen changes from call to call"),
        (by_global, "COUNT changes from call to call"),
        (by_buffer, "count is written to in eval mode"),
        (by_new_buffer, "changes from call to call"),
        (by_running_mean, "an earlier call made of its images"),
        (by_memory, "an earlier call made of its images"),
        (by_first_call, "an earlier call made of its images"),
        (by_mode, "enters a TorchDispatchMode"),
    ],
)
def test_a_course_that_follows_anything_else_is_refused(function: Any, says: str) -> None:
    net = habit(function)()
    before, state = torch.random.get_rng_state(), random.getstate()
    with pytest.raises(NotCuttable, match=says):
        follow(net, SHAPE, numbers=True)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert random.getstate() == state
    assert float(net.count) == 0
