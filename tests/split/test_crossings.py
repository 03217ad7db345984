"""What passes between the operations of a network by ways of its own: right, or refused by name."""
# ruff: noqa: ARG001

import time
from typing import Any

import pytest
import torch
from habits import IMAGES, SHAPE, Habit, habit
from split_cases import error
from torch import Tensor, nn
from torch.nn.utils import rnn

from splitlab.errors import NotCuttable
from splitlab.split import cut, split_points


def parts_of_rows(self: Any, x: Tensor) -> Tensor:
    y = self.other(x)
    y[:, ::2] += x[:, ::2]
    return y


def parts_before_others(self: Any, x: Tensor) -> Tensor:
    y = self.other(x)
    y[..., 2:] *= 0.5
    y[:, 1].mul_(2)
    y[:, :2] -= y[:, 2:]
    return y


def parts_after_others(self: Any, x: Tensor) -> Tensor:
    y = self.other(x)
    kept = y[:, 1]
    kept.mul_(2)
    rows = y.view(len(y), -1)
    rows[:, 5:] += 1
    y[:, ::2][:, 1:] *= x[:, 1:2]
    return y + kept[:, None] + rows.mean()


def halves_of_one(self: Any, x: Tensor) -> Tensor:
    y = self.other(x)
    y[:, :2].add_(y[:, 2:])
    y.add_(y.view_as(y))
    y[:, 0] = y[:, 3]
    return y


def of_a_spectrum(self: Any, x: Tensor) -> Tensor:
    spectrum = torch.fft.rfft2(self.other(x))
    spectrum[..., 2:] *= 0.5
    return torch.fft.irfft2(spectrum, s=x.shape[-2:])


def of_masked(self: Any, x: Tensor) -> Tensor:
    y = self.other(x)
    y[y > 0] *= 0.5
    y[:, [0, 2]] += 1
    return y


WRITES = [
    parts_of_rows,
    parts_before_others,
    parts_after_others,
    halves_of_one,
    of_a_spectrum,
    of_masked,
]


@pytest.mark.parametrize("function", WRITES)
def test_a_part_that_is_written_is_one_tensor(function: Any) -> None:
    net = habit(function)().eval()
    for name in ("conv", "flatten"):
        parts = cut(net, name, None, SHAPE)
        for count in (2, 3, 20):
            assert error(parts, net, IMAGES[:count]) <= 1e-5


def test_two_tensors_are_still_two() -> None:
    def both(self: Any, x: Tensor) -> Tensor:
        values, places = torch.empty_like(x[:, 0]), torch.empty_like(x[:, 0], dtype=torch.long)
        torch.max(self.other(x), 1, out=(values, places))
        return x + values[:, None]

    with pytest.raises(NotCuttable, match="writes into two tensors"):
        split_points(habit(both)(), SHAPE)


class Packed(Habit):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 4, batch_first=True)

    def habit(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        packed = rnn.pack_padded_sequence(tokens, self.lengths(x), batch_first=True)
        found, _ = rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        return found.transpose(1, 2).reshape(x.shape)

    def lengths(self, x: Tensor) -> Any:
        return torch.full((len(x),), 64)


class PackedByList(Packed):
    def lengths(self, x: Tensor) -> Any:
        return [64] * len(x)


@pytest.mark.parametrize("numbers", [True, False])
@pytest.mark.parametrize("kind", [Packed, PackedByList])
def test_packed_sequences_are_refused_by_name(
    kind: type[Packed], numbers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splitlab.split.trace.flow.is_cheap", lambda *_: numbers)
    with pytest.raises(NotCuttable, match=r"packed sequence .* the padded tensor itself"):
        cut(kind(), "conv", None, SHAPE)


def packed_by_hand(self: Any, x: Tensor) -> Tensor:
    rows = x.flatten(2).transpose(1, 2).flatten(0, 1)
    found, _ = self.lstm(rnn.PackedSequence(rows, torch.tensor([len(x)] * 64)))
    return found.data.view(x.shape)


def test_a_packed_sequence_made_by_hand_is_refused_where_it_is_used() -> None:
    net = habit(packed_by_hand)()
    net.lstm = nn.LSTM(4, 4)
    with pytest.raises(NotCuttable, match=r"lstm: .*packed sequence"):
        cut(net, "conv", None, SHAPE)


def as_long_as_the_batch(self: Any, x: Tensor) -> Tensor:
    return x * torch.tensor([0.5] * len(x)).view(-1, 1, 1, 1)


def by_a_clock(self: Any, x: Tensor) -> Tensor:
    return x * time.perf_counter()


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (as_long_as_the_batch, r"as long as the batch \(3 values for 3 images, 7 for 7\).*full"),
        (by_a_clock, "in one run and .* in another, .* a clock"),
    ],
)
def test_arguments_that_differ_are_named_for_what_they_are(function: Any, says: str) -> None:
    with pytest.raises(NotCuttable, match=says):
        split_points(habit(function)(), SHAPE)


def with_grad(self: Any, x: Tensor) -> Tensor:
    with torch.inference_mode(False), torch.enable_grad():
        y = x.clone().detach().requires_grad_(True)
        (found,) = torch.autograd.grad(self.other(y).pow(2).sum(), y)
    return x - 0.1 * found


def with_backward(self: Any, x: Tensor) -> Tensor:
    with torch.inference_mode(False), torch.enable_grad():
        y = x.clone().detach().requires_grad_(True)
        self.other(y).pow(2).sum().backward()
    return x - 0.1 * y.grad  # type: ignore[operator]


def with_backward_of_torch(self: Any, x: Tensor) -> Tensor:
    with torch.inference_mode(False), torch.enable_grad():
        y = x.clone().detach().requires_grad_(True)
        torch.autograd.backward(self.other(y).pow(2).sum())
    return x - 0.1 * y.grad  # type: ignore[operator]


@pytest.mark.parametrize("numbers", [True, False])
@pytest.mark.parametrize("function", [with_grad, with_backward, with_backward_of_torch])
def test_a_gradient_inside_is_refused_by_name(
    function: Any, numbers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splitlab.split.trace.flow.is_cheap", lambda *_: numbers)
    with pytest.raises(NotCuttable, match="takes a gradient inside forward"):
        cut(habit(function)(), "conv", None, SHAPE)


def fails_in_inference_mode(self: Any, x: Tensor) -> Tensor:
    if torch.is_inference_mode_enabled():
        raise KeyError("mine")
    return self.other(x)


def test_a_network_that_fails_where_it_is_compared_is_refused_with_its_reason() -> None:
    with pytest.raises(NotCuttable, match=r"the network itself cannot be run .* KeyError: 'mine'"):
        cut(habit(fails_in_inference_mode)(), "conv", None, SHAPE)


class Pair(nn.Linear):
    """Counts as one operation, and wants its own kind of container."""

    def forward(self, input: Any) -> Tensor:
        return super().forward(input.values.flatten(1))


def in_a_container(self: Any, x: Tensor) -> Tensor:
    return self.pair(x.max(1)).view(-1, 4, 8, 8)


def test_parts_that_fail_are_refused_with_their_reason() -> None:
    net = habit(in_a_container)()
    net.pair = Pair(64, 256)
    with pytest.raises(NotCuttable, match=r"its parts cannot be run on a batch of 1 .*'values'"):
        cut(net, "conv", None, SHAPE)


class Kind(Tensor):
    pass


def of_a_kind(self: Any, x: Tensor) -> Tensor:
    return self.other(x.as_subclass(Kind)).as_subclass(Tensor)


@pytest.mark.parametrize("numbers", [True, False])
def test_a_subclass_of_tensors_is_called_what_it_is(
    numbers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splitlab.split.trace.flow.is_cheap", lambda *_: numbers)
    with pytest.raises(NotCuttable, match=r"makes a Kind, a subclass of torch\.Tensor"):
        split_points(habit(of_a_kind)(), SHAPE)


class UnderAutocast(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.net(x).float()


@pytest.mark.parametrize("name", ["net.0", "net.7"])
def test_a_network_wholly_under_autocast_is_told_that_it_cannot_be_cut(name: str) -> None:
    net = UnderAutocast(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(256, 5)))
    assert split_points(net, SHAPE, "operation") == []
    with pytest.raises(NotCuttable, match=r"cannot be cut at any place; at most .* bfloat16.*end"):
        cut(net, name, None, SHAPE)
