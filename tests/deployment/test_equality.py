"""Halves that would answer otherwise than the network are not written, whatever made them so."""
# ruff: noqa: ARG002

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import defenses
from splitlab.contracts import ArchSpec, InputSpec
from splitlab.deployment import Halves, Selector, equality, write_deployment
from splitlab.deployment.equality import relative_error
from splitlab.errors import Mismatch
from splitlab.models import MODELS, build
from splitlab.models.build import Normalised
from splitlab.randomness import Secret
from splitlab.split import Parts, cut, widen

CLASSES = ("cats", "dogs")


class Plain(nn.Module):
    def __init__(self, classes: int = 2, spec: Any = None) -> None:
        super().__init__()
        self.stem, self.act = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()
        self.last, self.fc = nn.Conv2d(4, 4, 1), nn.Linear(4 * 8 * 8, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.change(self.last(self.act(self.stem(x)))).flatten(1))

    def change(self, x: Tensor) -> Tensor:
        return x


class Slotted:
    """Counts where no look at attributes finds it, once it is armed."""

    __slots__ = ("armed", "calls")

    def __init__(self) -> None:
        self.calls, self.armed = 0, False


CALLS = Slotted()


class AtOne(Plain):
    """int() takes from the batch size what it is."""

    def change(self, x: Tensor) -> Tensor:
        return x * 2 if int(x.shape[0]) == 1 else x


class AtFive(Plain):
    def change(self, x: Tensor) -> Tensor:
        return x * 2 if int(x.shape[0]) in (4, 5) else x


class AtSixteen(Plain):
    def change(self, x: Tensor) -> Tensor:
        return x * 2 if int(x.shape[0]) == 16 else x


class InInference(Plain):
    def change(self, x: Tensor) -> Tensor:
        return x * 2 if torch.is_inference_mode_enabled() else x


class Forgetting(Plain):
    """Another answer from some call on."""

    def change(self, x: Tensor) -> Tensor:
        CALLS.calls += 1
        return x * CALLS.calls if CALLS.armed else x


class InAList(Plain):
    """A layer that no state dict holds."""

    def __init__(self, classes: int = 2, spec: Any = None) -> None:
        super().__init__(classes)
        self.more = [nn.Conv2d(4, 4, 1)]

    def change(self, x: Tensor) -> Tensor:
        return self.more[0](x)


class DrawnOnce(Plain):
    """A random tensor that is no buffer, in the head."""

    def __init__(self, classes: int = 2, spec: Any = None) -> None:
        super().__init__(classes)
        self.stem.register_forward_pre_hook(Shift(torch.rand(3, 1, 1)))


class Shift:
    def __init__(self, by: Tensor) -> None:
        self.by = by

    def __call__(self, module: nn.Module, args: Any) -> Any:
        return (args[0] + self.by,)


class TooLarge(Plain):
    """Finite weights, and yet no numbers at the end."""

    def change(self, x: Tensor) -> Tensor:
        return x * 1e38 * 1e38


class NotKept(Plain):
    """A buffer that is not saved, and random."""

    def __init__(self, classes: int = 2, spec: Any = None) -> None:
        super().__init__(classes)
        self.register_buffer("mask", torch.rand(4, 1, 1), persistent=False)

    def change(self, x: Tensor) -> Tensor:
        return x * self.mask


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = (
        Plain,
        AtOne,
        AtFive,
        AtSixteen,
        InInference,
        Forgetting,
        InAList,
        DrawnOnce,
        NotKept,
        TooLarge,
    )
    entries = {kind.__name__: f"{__name__}:{kind.__name__}" for kind in kinds}
    monkeypatch.setattr(MODELS, "_entries", {**MODELS._entries, **entries})


def write(folder: Path, kind: type[Plain], net: Normalised | None = None, bodies: int = 1) -> None:
    arch = ArchSpec(name=kind.__name__, classes=2, input=InputSpec(size=8))
    nets = [build(arch, seed=3 + number).eval() for number in range(bodies)]
    parts = [cut(one, "act", "last", arch.input.shape) for one in (net or nets[0], *nets[1:])]
    halves = Halves(
        arch=arch,
        head_end="act",
        tail_start="last",
        head=parts[0].head,
        bodies=tuple(part.body for part in parts),
        tail=widen(parts[0].tail, bodies),
        protectors=nn.ModuleList(),
        selector=Selector(bodies, tuple(range(bodies))),
    )
    stack = defenses.parse("none")
    write_deployment(folder, halves, defended=stack, secret=Secret.new(3), classes=CLASSES)


@pytest.mark.parametrize("bodies", [1, 3])
def test_what_is_equal_is_written(tmp_path: Path, bodies: int) -> None:
    write(tmp_path, Plain, bodies=bodies)
    assert (tmp_path / "client" / "deployment.json").exists()


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (AtOne, "its parts, beside the whole, gives other answers for a batch of 1: error "),
        (AtFive, "its parts, beside the whole, gives other answers for a batch of 5: error "),
        (AtSixteen, "its parts, beside the whole, gives other answers for a batch of 16: error "),
        (InInference, "its parts, beside the whole, gives other answers for a batch of 1: error "),
        (Forgetting, "the whole network, asked again gives other answers for a batch of 1"),
        (TooLarge, "1 of 1 images are answered with NaN or infinite logits"),
        (InAList, "the tail, read back, gives other answers"),
        (DrawnOnce, "the head, read back, gives other answers"),
        (NotKept, "the tail, read back, gives other answers"),
    ],
)
def test_what_differs_is_refused_and_nothing_is_written(
    tmp_path: Path, kind: type[Plain], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_and_arm(*given: Any) -> Parts:
        parts = cut(*given)
        CALLS.armed = True
        return parts

    CALLS.armed = False
    # `cut` compares too, and would refuse the first of these itself.
    monkeypatch.setattr("splitlab.split.parts.require_same_answers", lambda *_, **__: None)
    monkeypatch.setattr(equality, "cut", cut_and_arm)
    with pytest.raises(Mismatch, match=says):
        write(tmp_path, kind)
    assert list(tmp_path.iterdir()) == []


def test_relative_error() -> None:
    wanted = torch.tensor([1.0, -4.0, float("nan")])
    assert relative_error(wanted.clone(), wanted) == 0
    assert relative_error(torch.tensor([1.0, -3.0, float("nan")]), wanted) == pytest.approx(0.25)
    assert relative_error(torch.tensor([1.0, -4.0, 0.0]), wanted) == float("inf")
    assert relative_error(torch.tensor([float("nan"), -4.0, 0.0]), wanted) == float("inf")
    assert relative_error(torch.zeros(2), wanted) == float("inf")
