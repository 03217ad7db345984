"""Networks whose course follows the batch or a mode of numbers: right at every size, or refused."""
# ruff: noqa: ARG001

from typing import Any

import pytest
import torch
from habits import IMAGES, SHAPE, Habit, habit
from split_cases import error
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from splitlab.errors import NotCuttable
from splitlab.split import cut, find_point, split_points
from splitlab.split.limits.contexts import Within
from splitlab.split.trace.flow import follow


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


def computed(self: Habit, x: Tensor) -> Tensor:
    """Computes with the batch in many ways and asks for what is so for every batch."""
    n = len(x)
    assert divmod(n * 8, 8) == (n, 0)
    assert (n << 2) >> 2 == n
    assert not (2 * n) & 1
    assert (2 * n / 2).is_integer()
    assert n * 0.5 > 0
    assert 1 << 4 * n > n
    for _ in range(40):  # each sum asks for both its parts
        n = n + n
    assert n > 0
    return x.reshape(len(x) << 2, 64).tanh().view(divmod(x.numel(), 256)[0], 4, 8, 8)


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
        *(autocast, autocast_decorated, autocast_off, modes, sized, computed, windows),
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


def at_odd(self: Habit, x: Tensor) -> Tensor:
    return x * 2 if len(x) & 1 else x


def at_a_rest(self: Habit, x: Tensor) -> Tensor:
    return x * 2 if divmod(len(x), 4)[1] == 3 else x


def at_a_shift(self: Habit, x: Tensor) -> Tensor:
    return x * 2 if len(x) >> 6 else x


def at_half(self: Habit, x: Tensor) -> Tensor:
    return x * 2 if len(x) * 0.5 > 100 else x


def at_powers(self: Habit, x: Tensor) -> Tensor:
    n = len(x)
    return x * 2 if n & (n - 1) == 0 else x


def at_whole_parts(self: Habit, x: Tensor) -> Tensor:
    return x * 2 if (len(x) / 4).is_integer() else x


def at_long(self: Habit, x: Tensor) -> Tensor:
    return x * 2 if len(x).bit_length() > 8 else x


def where_it_fails(self: Habit, x: Tensor) -> Tensor:
    try:
        return x * (1 // (len(x) - 500))
    except ZeroDivisionError:
        return x


def at_what_fails(self: Habit, x: Tensor) -> Tensor:
    return x * 2 if 1000 // (len(x) - 500) == 1000 else x


def at_the_traced(self: Habit, x: Tensor) -> Tensor:
    return x * 2 if x.shape[0] == 7 or x.shape[0] == 29 else x


@pytest.mark.parametrize("numbers", [True, False])
@pytest.mark.parametrize(
    "function",
    [
        *(at_one, at_many, at_multiples, by_numbers, in_a_tuple, at_a_shape, capped, in_pieces),
        *(in_halves, in_a_loop, one_by_one, transposed, at_the_traced),
        *(at_odd, at_a_rest, at_a_shift, at_half, at_powers, at_whole_parts, at_long),
        *(at_what_fails,),
    ],
)
def test_a_course_that_follows_the_batch_is_refused(function: Any, numbers: bool) -> None:
    with pytest.raises(NotCuttable, match=r"batch|other operations"):
        follow(habit(function)(), SHAPE, numbers)
