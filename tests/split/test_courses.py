"""Networks whose course follows batch, images, chance, earlier calls or a mode."""
# ruff: noqa: ARG001

import itertools
import random
from typing import Any

import numpy
import pytest
import torch
from split_cases import error
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from splitlab.errors import NotCuttable
from splitlab.split import cut, find_point, split_points
from splitlab.split.flow import follow
from splitlab.split.limits.contexts import Within

IMAGES = torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
SHAPE = (3, 8, 8)
COUNT = 0


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
    return type(function.__name__, (Habit,), {"habit": function, "__module__": __name__})


def autocast(self: Habit, x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = self.other(x) @ x.transpose(2, 3)
        with torch.autocast("cpu", enabled=False):
            z = self.other(x)
    return y.float() + z.tanh()


def autocast_decorated(self: Habit, x: Tensor) -> Tensor:
    return torch.amp.autocast("cpu", torch.bfloat16)(lambda one: F.linear(one, one[0, 0]))(
        x
    ).float()


def autocast_off(self: Habit, x: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        return self.other(x)


def modes(self: Habit, x: Tensor) -> Tensor:
    with torch.inference_mode():
        y = x * 2
        y[:, 1] = 0.5
        y[:, :2].add_(x[:, 2:])
    with torch.no_grad():
        y = y + self.other(y)
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        return F.scaled_dot_product_attention(y, y, y)


def sized(self: Habit, x: Tensor) -> Tensor:
    """Asks for the batch in many ways, none of which changes the course."""
    n = len(x)
    assert n > 0
    assert x.size(0) == n == x.shape[0] == x.numel() // 256
    assert n
    if x.shape[1:] != (4, 8, 8) or x.shape == (0, 4, 8, 8):
        x = x * 0
    for _ in range(min(len(x.shape), 4)):
        x = x + 0.1
    groups = x.reshape(n * 4, 64).view(n, -1, *x.shape[2:])
    return (groups.sum(0) / n + groups).view(-1, *x.shape[1:])[:16].repeat(2, 1, 1, 1)[: len(x)]


def windows(self: Habit, x: Tensor) -> Tensor:
    """Swin's way to find the batch again."""
    cut_up = x.view(len(x), 4, 2, 4, 2, 4).permute(0, 2, 4, 1, 3, 5).reshape(-1, 4, 4, 4)
    n = int(cut_up.shape[0] / (8 * 8 / 4 / 4))
    assert n == x.shape[0]
    return cut_up.tanh().view(n, 2, 2, 4, 4, 4).permute(0, 3, 1, 4, 2, 5).reshape(n, 4, 8, 8)


def cached(self: Habit, x: Tensor) -> Tensor:
    """Keeps a table, a shape and a feature to look at, none of which changes the answer."""
    if self.memory is None:
        self.memory = torch.arange(8.0) * 0.1
    self.size, self.feature = x.shape[-2:], x
    return x + self.memory


def chance(self: Habit, x: Tensor) -> Tensor:
    noisy = x + 0.1 * torch.randn_like(x) + torch.rand(len(x), 1, 1, 1)
    return F.dropout(noisy, 0.3, training=True)


def plain_training(self: Habit, x: Tensor) -> Tensor:
    return x * 7 if self.training else self.drop(x.relu())


@pytest.mark.parametrize(
    "function",
    [
        *(autocast, autocast_decorated, autocast_off, modes, sized, windows),
        *(cached, chance, plain_training),
    ],
)
def test_is_right_at_every_batch_size(function: Any) -> None:
    net = habit(function)().eval()
    points = split_points(net, SHAPE, "operation")
    for point in {points[0], points[len(points) // 2], points[-1]}:
        parts = cut(net, point.name, None, SHAPE)
        for count in (1, 2, 16) if function is sized else (1, 2, 20):
            images = IMAGES[-count:]
            torch.manual_seed(5)
            with torch.inference_mode():
                whole = net(images)
            torch.manual_seed(5)
            with torch.inference_mode():
                given = parts.tail(parts.body(parts.head(images)))
            assert given.dtype == whole.dtype
            assert float((given - whole).abs().max() / whole.abs().max()) <= 1e-5


def test_autocast_is_kept_where_it_was_and_nowhere_else() -> None:
    net = habit(autocast)().eval()
    body = cut(net, "conv", None, SHAPE).body
    inside = [module for module in body.modules() if isinstance(module, Within)]
    assert [one.autocast for one in inside] == [(("cpu", torch.bfloat16),)] * 3
    with torch.inference_mode():
        plain = net.fc((net.other(z := net.conv(IMAGES)) @ z.mT + net.other(z).tanh()).flatten(1))
        assert float((plain - net(IMAGES)).abs().max() / plain.abs().max()) > 1e-5
    assert not torch.is_autocast_enabled("cpu")


def autocast_to_the_end(self: Habit, x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        x = self.other(x)
    return x.float().tanh()


def test_half_a_float_is_no_split_point() -> None:
    points = split_points(habit(autocast_to_the_end)(), SHAPE, "operation")
    assert [point.name for point in points] == ["conv", "float", "tanh", "flatten"]
    with pytest.raises(NotCuttable, match="bfloat16, and float32 is what is sent"):
        find_point(points, "other")


def test_autocast_around_a_cut_changes_nothing() -> None:
    net = habit(autocast_off)().eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        parts = cut(net, "conv", None, SHAPE)
    assert error(parts, net, IMAGES) <= 1e-5
    assert not any(isinstance(module, Within) for module in parts.body.modules())


def at_one(self: Habit, x: Tensor) -> Tensor:
    return x * 2 if x.shape[0] == 1 else x


def at_many(self: Habit, x: Tensor) -> Tensor:
    return x * 2 if len(x) > 8 else x


def at_multiples(self: Habit, x: Tensor) -> Tensor:
    return x * 2 if x.size(0) % 4 == 0 else x


def by_numbers(self: Habit, x: Tensor) -> Tensor:
    return x * 2 if x.numel() >= 4096 else x


def in_a_tuple(self: Habit, x: Tensor) -> Tensor:
    n, *_ = x.shape
    return x * 2 if n in (1, 2) else x


def at_a_shape(self: Habit, x: Tensor) -> Tensor:
    return x * 2 if x.shape == (1, 4, 8, 8) else x


def capped(self: Habit, x: Tensor) -> Tensor:
    return x * min(len(x), 8)


def in_pieces(self: Habit, x: Tensor) -> Tensor:
    return torch.cat([self.other(piece) for piece in x.split(16)])


def in_halves(self: Habit, x: Tensor) -> Tensor:
    one, two = x.chunk(2)
    return torch.cat([one * 2, two])


def in_a_loop(self: Habit, x: Tensor) -> Tensor:
    return torch.cat([self.other(x[i : i + 16]) for i in range(0, len(x), 16)])


def one_by_one(self: Habit, x: Tensor) -> Tensor:
    return torch.stack([self.other(one) for one in x])


def transposed(self: Habit, x: Tensor) -> Tensor:
    y = x.transpose(0, 1)
    return x * 2 if y.shape[1] > 10 else x


def at_the_traced(self: Habit, x: Tensor) -> Tensor:
    return x * 2 if x.shape[0] == 7 or x.shape[0] == 29 else x


@pytest.mark.parametrize("numbers", [True, False])
@pytest.mark.parametrize(
    "function",
    [
        *(at_one, at_many, at_multiples, by_numbers, in_a_tuple, at_a_shape, capped, in_pieces),
        *(in_halves, in_a_loop, one_by_one, transposed, at_the_traced),
    ],
)
def test_a_course_that_follows_the_batch_is_refused(function: Any, numbers: bool) -> None:
    with pytest.raises(NotCuttable, match=r"batch|other operations"):
        follow(habit(function)(), SHAPE, numbers)


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
