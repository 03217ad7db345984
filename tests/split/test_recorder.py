"""Networks with awkward habits: repeated faithfully, or refused with the reason."""

import pytest
import torch
from split_cases import error
from torch import Tensor, nn
from torch.nn import functional as F

from splitlab.errors import BadInput, NotCuttable
from splitlab.models import Normalised
from splitlab.split import cut, find_point, split_points
from splitlab.split.trace.flow import follow

IMAGES = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
SHAPE = (3, 8, 8)


class Habit(nn.Module):
    """A convolution, a habit, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.act = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True)
        self.fc = nn.Linear(4 * 8 * 8, 5)
        self.token = nn.Parameter(torch.randn(1, 1, 4))
        self.register_buffer("mask", torch.rand(4, 1, 1), persistent=False)
        self.plain = torch.arange(4.0).view(4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.habit(self.conv(x))
        return self.fc(x.flatten(1))

    def habit(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class InPlace(Habit):
    def habit(self, x: Tensor) -> Tensor:
        y = x + 1
        x.mul_(2).add_(y)
        x += 1
        F.relu(x, inplace=True)
        return self.act(x) - F.hardswish(y, True)


class InPlaceQuirk(Habit):
    """The shortcut sees what the activation wrote."""

    def habit(self, x: Tensor) -> Tensor:
        return self.act(x) + x


class Assigned(Habit):
    """Writes through views, of views, of parts, before and after others were taken."""

    def habit(self, x: Tensor) -> Tensor:
        rows = x.view(x.shape[0], -1)
        left, right = x.chunk(2, dim=1)
        x[:, :2, 1:].mul_(2)
        x[:, 3] = rows.sum() * 0.01
        rows.T[3:5].add_(left.mean())
        first, _ = right.unbind(1)
        first[:, 0] = 3.0
        bias = self.conv.bias.clone()
        bias[1:2].zero_()
        return x + rows.view(x.shape) + torch.cat([left, right], 1) + bias.view(-1, 1, 1)


class Batched(Habit):
    """Shapes, devices and numbers of the batch in Python, a token for each image, constants."""

    def habit(self, x: Tensor) -> Tensor:
        count, channels, height, width = x.shape
        tokens = x.reshape(count * channels, height * width).view(count, channels, -1)
        first = self.token.expand(count, -1, -1).transpose(1, 2)
        offset = torch.zeros(count, channels, 1, device=x.device) + torch.arange(
            float(channels), device=x.device
        ).view(-1, 1)
        tokens = torch.cat([first, tokens + offset], 2)[:, :, 1:]
        x = tokens.unflatten(2, (height, width)) if width == 8 else tokens
        return x * self.mask + self.plain.to(x.device)


class Parted(Habit):
    """Tuples, unpacking, iteration, named results, operators with the number first."""

    def habit(self, x: Tensor) -> Tensor:
        one, two = x.chunk(2, dim=1)
        a, b = one.transpose(0, 1)
        best = two.max(dim=1, keepdim=True)
        low, high = torch.split(x, [1, 3], dim=1)
        mixed = 1 - torch.stack([a, b, best.values[:, 0], 2 / (low[:, 0].abs() + 1)], 1)
        return mixed + sum(part.mean() for part in high.unbind(1)) * 1e-3 + (-x).T.T


class Returning(nn.Module):
    def forward(self, x: Tensor) -> dict[str, list[Tensor]]:
        return {"maps": [x, x.exp()]}


class Nested(Habit):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Returning()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def habit(self, x: Tensor) -> Tensor:
        tokens = self.inner(x)["maps"][1].flatten(2).transpose(1, 2)
        mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        return mixed.transpose(1, 2).reshape(x.shape)


@pytest.mark.filterwarnings("ignore:The use of `x.T`:UserWarning")
@pytest.mark.parametrize("kind", [InPlace, InPlaceQuirk, Assigned, Batched, Parted, Nested])
def test_habits_are_repeated_at_every_place(kind: type[Habit]) -> None:
    net = Normalised(kind(), (0.5,) * 3, (0.25,) * 3).eval()
    points = split_points(net, SHAPE, "operation")
    assert points[0].name == "conv"
    assert len(points) >= 2
    for point in points:
        assert error(cut(net, point.name, None, SHAPE), net, IMAGES) <= 1e-5


def test_names_of_modules_called_twice() -> None:
    class Twice(Habit):
        def habit(self, x: Tensor) -> Tensor:
            return self.act(torch.tanh(self.act(x)) - 0.1)

    points = split_points(Twice(), SHAPE, "operation")
    assert [p.name for p in points] == ["conv", "act", "tanh", "sub", "act_1", "flatten"]


def test_a_module_keeps_its_name_though_another_is_called_twice() -> None:
    class Confusing(Habit):
        def __init__(self) -> None:
            super().__init__()
            self.act_1 = nn.Tanh()

        def habit(self, x: Tensor) -> Tensor:
            return self.act_1(self.act(self.act(x) - 0.1))

    points = split_points(Confusing(), SHAPE, "operation")
    assert [p.name for p in points] == ["conv", "act", "sub", "act_2", "act_1", "flatten"]


def test_named_blocks_are_the_members_of_a_stage_and_not_of_a_branch() -> None:
    class Unit(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x) + x

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branch, self.act = nn.Sequential(Unit(), Unit()), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.branch(x) + x)

    class Stage(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks, self.norm = nn.ModuleList([Unit(), Unit()]), nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            for block in self.blocks:
                x = block(x)
            return self.norm(x)

    points = split_points(nn.Sequential(Stage(), Residual(), nn.Flatten()), SHAPE)
    assert [p.name for p in points] == ["0.blocks.0", "0.blocks.1", "0.norm", "1"]
    assert points[2].aliases == ("0",)


def test_layers_that_do_nothing_are_other_names_of_what_is_before_them() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Identity(), nn.Dropout(0.5), nn.Flatten(), nn.ReLU())
    points = split_points(net, SHAPE)
    assert [(point.name, point.aliases) for point in points] == [("0", ("1", "2")), ("3", ())]


def test_rows_that_are_no_images_are_no_split_points() -> None:
    class Windows(Habit):
        def habit(self, x: Tensor) -> Tensor:
            return (x.view(-1, 8, 8) * 2).view(-1, 4, 8, 8)

    points = split_points(Windows(), SHAPE, "operation")
    assert [point.name for point in points] == ["conv", "view_1", "flatten"]
    with pytest.raises(NotCuttable, match="dimension 0 is the batch"):
        find_point(points, "mul")


class Numbers(Habit):
    def habit(self, x: Tensor) -> Tensor:
        return x * 2 if x.sum().item() > 0 else x


class Truth(Habit):
    def habit(self, x: Tensor) -> Tensor:
        return x * 2 if (x.mean() > 0) and int(x.amax()) > -9 else x


class Scripted(Habit):
    def habit(self, x: Tensor) -> Tensor:
        return twice(x)


class OtherBatch(Habit):
    def habit(self, x: Tensor) -> Tensor:
        return x.relu() if len(x) % 3 == 1 else x


class Halved(Habit):
    def habit(self, x: Tensor) -> Tensor:
        return torch.cat([x[: len(x) // 2], x[len(x) // 2 :]])


class HiddenView(Habit):
    """The activation has no twin that could be repeated on the whole."""

    def habit(self, x: Tensor) -> Tensor:
        self.act(x.view(-1))
        return x


class Two(Habit):
    def forward(self, x: Tensor) -> Tensor:
        return x, x  # type: ignore[return-value]


def twice(x: Tensor) -> Tensor:
    """Made outside of what can be seen, as a compiled function would."""
    with torch._C.DisableTorchFunction():
        return x * 2


@pytest.mark.parametrize(
    ("kind", "numbers", "says"),
    [
        (Numbers, False, "depends on numbers"),
        (Numbers, True, "depends on numbers"),
        (Truth, True, "depends on numbers"),
        (Scripted, False, "cannot be followed"),
        (Scripted, True, "cannot be followed"),
        (OtherBatch, True, "other batch sizes"),
        (Halved, True, "no multiple of the batch size"),
        (HiddenView, True, "changed in place through another view"),
        (Two, True, "returns tuple"),
    ],
)
def test_what_cannot_be_repeated_is_refused(kind: type[Habit], numbers: bool, says: str) -> None:
    with pytest.raises(NotCuttable, match=says):
        follow(kind(), SHAPE, numbers)


def test_a_network_that_fails_says_why() -> None:
    with pytest.raises(BadInput, match=r"\(3, 9, 9\).*check the size of the images"):
        split_points(InPlace(), (3, 9, 9))
