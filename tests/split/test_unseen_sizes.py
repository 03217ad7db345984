"""Branches on the batch size that hide from Python's operators: refused where they are, or by the
comparison of parts and whole that `cut` ends with.
"""
# ruff: noqa: ARG001, ARG005

from typing import Any

import pytest
import torch
from habits import SHAPE, habit
from torch import Tensor

from splitlab.errors import NotCuttable
from splitlab.models import Normalised
from splitlab.split import cut, proof, split_points
from splitlab.split.proof import ALWAYS, FURTHER, batches_for


def in_a_set(self: Any, x: Tensor) -> Tensor:
    return x * 2 if x.shape[0] in {64, 128} else x


def in_a_dict(self: Any, x: Tensor) -> Tensor:
    return x * {64: 2.0}.get(x.shape[0], 1.0)


def in_a_dict_of_shapes(self: Any, x: Tensor) -> Tensor:
    return x * {(64, 4): 2.0}.get(tuple(x.shape[:2]), 1.0)


def by_whole_parts(self: Any, x: Tensor) -> Tensor:
    return x * (1 + x.shape[0] // 8)


def by_many_parts(self: Any, x: Tensor) -> Tensor:
    return x + x.shape[0] // 500


def by_a_rest(self: Any, x: Tensor) -> Tensor:
    return x * (1 + x.shape[0] % 2)


def by_bytes(self: Any, x: Tensor) -> Tensor:
    return x * 2 if x.nbytes >= 64 * 1024 else x


def by_storage(self: Any, x: Tensor) -> Tensor:
    return x * 2 if x.untyped_storage().nbytes() >= 64 * 1024 else x


@pytest.mark.parametrize("numbers", [True, False])
@pytest.mark.parametrize(
    ("function", "says"),
    [
        (in_a_set, "looks something up by the batch size"),
        (in_a_dict, "looks something up by the batch size"),
        (in_a_dict_of_shapes, "looks something up by the batch size"),
        (by_whole_parts, "which is no multiple of|no multiple of it .1 for 1 image, 2 for 8"),
        (by_many_parts, r"no multiple of it \(0 for 1 image, 1 for 500\)"),
        (by_a_rest, r"no multiple of it \(2 for 1 image, 1 for 2\)"),
        (by_bytes, "compares the batch size"),
        (by_storage, r"asks for the storage of a tensor \(untyped_storage\)"),
    ],
)
def test_what_can_be_seen_is_refused_while_the_network_is_followed(
    function: Any, says: str, numbers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splitlab.split.trace.flow.is_cheap", lambda *_: numbers)
    with pytest.raises(NotCuttable, match=says):
        split_points(habit(function)(), SHAPE)


def with_vmap(self: Any, x: Tensor) -> Tensor:
    return torch.vmap(lambda one: self.other(one[None])[0])(x)


def with_vmap_of_functions(self: Any, x: Tensor) -> Tensor:
    return torch.vmap(torch.tanh)(x)


@pytest.mark.parametrize("numbers", [True, False])
@pytest.mark.parametrize("function", [with_vmap, with_vmap_of_functions])
def test_vmap_is_refused_by_its_name(
    function: Any, numbers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splitlab.split.trace.flow.is_cheap", lambda *_: numbers)
    with pytest.raises(NotCuttable, match=r"it uses torch\.vmap"):
        split_points(habit(function)(), SHAPE)


def through_int(self: Any, x: Tensor) -> Tensor:
    return x * 2 if int(x.size(0)) >= 16 else x


def through_text(self: Any, x: Tensor) -> Tensor:
    return x * 2 if "16" in f"{tuple(x.shape)}" else x


def picked(self: Any, x: Tensor) -> Tensor:
    return x * [1.0, 2.0][int(x.shape[0]) // 32]


def at_thirty_three(self: Any, x: Tensor) -> Tensor:
    return x * 2 if int(x.shape[0]) == 33 else x


def in_inference_mode(self: Any, x: Tensor) -> Tensor:
    return x * 2 if torch.is_inference_mode_enabled() else x


UNSEEN = [
    (through_int, 16),
    (through_text, 16),
    (picked, 32),
    (at_thirty_three, 33),
    (in_inference_mode, 1),
]


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(("function", "size"), UNSEEN)
def test_what_cannot_be_seen_shows_when_parts_and_whole_are_compared(
    function: Any, size: int, wrapped: bool
) -> None:
    net = habit(function)()
    if wrapped:
        net = Normalised(net, (0.5,) * 3, (0.5,) * 3)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(NotCuttable, match=rf"otherwise than the whole .* for a batch of {size}:"):
        cut(net, "conv", None, SHAPE)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_a_hook_makes_a_library_s_network_anybody_s(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(proof, "batches_for", lambda macs: asked.append(macs) or [1])
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.Flatten(), torch.nn.Linear(256, 2))
    cut(net, "0", None, SHAPE)
    assert asked == []
    net[0].register_forward_hook(lambda module, args, output: output * 2)
    cut(net, "0", None, SHAPE)
    assert asked == [3 * 4 * 64 + 256 * 2]


def test_sizes_are_fewer_where_they_cost_much() -> None:
    assert batches_for(10**6) == sorted((*ALWAYS, *FURTHER))
    assert batches_for(10**9) == [1, 2, 16]
    assert batches_for(10**11) == [1, 2]
    assert batches_for(10**11, (1, 2, 5)) == [1, 2, 5]
