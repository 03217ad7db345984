"""Branches on the batch size that hide from Python's operators: refused where they are, or by the
comparison of parts and whole that `cut` ends with.
"""
# ruff: noqa: ARG001, ARG005

import logging
import math
import warnings
from typing import Any

import pytest
import torch
from habits import IMAGES, SHAPE, habit
from split_cases import error
from torch import Tensor

from splitlab.errors import BadInput, NotCuttable
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


def through_a_shape_s_text(self: Any, x: Tensor) -> Tensor:
    return x * 2 if "16" in f"{x.shape}" else x


def by_a_format(self: Any, x: Tensor) -> Tensor:
    return x * 2 if "%d" % x.shape[0] == "32" else x  # noqa: UP031


def picked(self: Any, x: Tensor) -> Tensor:
    return x * [1.0, 2.0][int(x.shape[0]) // 32]


def at_thirty_three(self: Any, x: Tensor) -> Tensor:
    return x * 2 if int(x.shape[0]) == 33 else x


def at_twenty_four(self: Any, x: Tensor) -> Tensor:
    return x * 2 if int(x.shape[0]) == 24 else x


def at_a_hundred(self: Any, x: Tensor) -> Tensor:
    return x * 2 if float(x.shape[0]) > 99.5 else x


def by_a_root(self: Any, x: Tensor) -> Tensor:
    return x * 2 if math.sqrt(x.shape[0]) == 8 else x


def in_inference_mode(self: Any, x: Tensor) -> Tensor:
    return x * 2 if torch.is_inference_mode_enabled() else x


UNSEEN = [
    (through_int, 16),
    (through_a_shape_s_text, 16),
    (by_a_format, 32),
    (at_twenty_four, 24),
    (at_a_hundred, 100),
    (by_a_root, 64),
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


def as_text(self: Any, x: Tensor) -> Tensor:
    return x * 2 if str(x.shape[0]) == "24" else x


def as_formatted_text(self: Any, x: Tensor) -> Tensor:
    return x * 2 if f"{x.shape[0]}" == "24" else x


def as_part_of_a_text(self: Any, x: Tensor) -> Tensor:
    return x * {"b024": 2.0}.get(f"b{len(x):03}", 1.0)


def as_text_of_a_tuple(self: Any, x: Tensor) -> Tensor:
    return x * 2 if "24" in f"{tuple(x.shape)}" else x


def as_text_by_percent(self: Any, x: Tensor) -> Tensor:
    return x * 2 if "%s" % x.shape[0] == "24" else x  # noqa: UP031


def as_text_of_half(self: Any, x: Tensor) -> Tensor:
    return x * 2 if repr(x.shape[0] / 2).endswith("12.0") else x


def as_text_in_an_assertion(self: Any, x: Tensor) -> Tensor:
    assert str(x.shape[0]) != "24", "twenty-four"
    return x


def as_text_that_is_kept(self: Any, x: Tensor) -> Tensor:
    names: list[str] = []
    names.append(str(x.shape[0]))
    return x * 2 if names == ["24"] else x


TEXTS = [
    as_text,
    as_formatted_text,
    as_part_of_a_text,
    as_text_of_a_tuple,
    as_text_by_percent,
    as_text_of_half,
    as_text_in_an_assertion,
    as_text_that_is_kept,
]


@pytest.mark.parametrize("function", TEXTS)
def test_a_text_of_the_batch_size_is_refused(function: Any) -> None:
    with pytest.raises(NotCuttable, match=r"makes a text of the batch size \(line \d+ of .*py\)"):
        split_points(habit(function)(), SHAPE)


def shown(self: Any, x: Tensor) -> Tensor:
    print(f"{len(x)} images of", tuple(x.shape))
    logging.getLogger("net").warning("%s images", x.shape[0])
    logging.getLogger("net").warning(f"{x.shape[0]} images")
    warnings.warn(f"{x.shape[0]} images", stacklevel=1)
    torch._assert(x.shape[1] == 4, f"{x.shape[0]} images")
    assert x.shape[1] == 4, f"{x.shape[0]} images"
    if x.shape[1] != 4:
        raise ValueError(f"{x.shape[0]} images")
    return x * 2


@pytest.mark.filterwarnings("ignore:.*images:UserWarning")
def test_a_text_that_is_only_shown_is_not() -> None:
    net = habit(shown)().eval()
    assert error(cut(net, "conv", None, SHAPE), net, IMAGES[:2]) <= 1e-5


def raising(self: Any, x: Tensor) -> Tensor:
    raise ValueError(f"no way with {x.shape[0]} images")


def test_the_network_s_own_error_is_shown_though_it_names_the_size() -> None:
    with pytest.raises(BadInput, match="no way with 3 images"):
        split_points(habit(raising)(), SHAPE)


def modulo(self: Any, x: Tensor) -> Tensor:
    return x * 2 if x.shape[0] % 2 == 0 else x


def of_pixels(self: Any, x: Tensor) -> Tensor:
    return x * 2 if 3 < x[:, 0].numel() // 256 else x  # noqa: SIM300


def of_a_rest_to_a_number(self: Any, x: Tensor) -> Tensor:
    return x * 2 if (100 - len(x)) * 2 >= 128 else x


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (modulo, r"\(n % 2 == 0, n images\)"),
        (of_pixels, r"\(64n // 256 > 3, n images\)"),
        (of_a_rest_to_a_number, r"\(\(100 - n\) \* 2 >= 128, n images\)"),
    ],
)
def test_a_refusal_says_what_was_asked(function: Any, says: str) -> None:
    with pytest.raises(NotCuttable, match=says):
        split_points(habit(function)(), SHAPE)


def test_a_hook_makes_a_library_s_network_anybody_s(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(proof, "batches_for", lambda macs, **_: asked.append(macs) or [1])
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
