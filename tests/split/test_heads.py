"""Which modules run in the head alone: dropout in it, behind it, shared, in functions, leaves."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from splitlab.contracts import ArchSpec
from splitlab.errors import UnknownName
from splitlab.models import build
from splitlab.split import head_modules

SHAPE = (3, 8, 8)


class Block(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv, self.drop = nn.Conv2d(before, after, 3, padding=1), nn.Dropout2d(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.drop(self.conv(x)).relu(), 0.5, training=self.training)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.shared = Block(3, 4), Block(4, 4), nn.Dropout(0.5)
        self.attention = nn.TransformerEncoderLayer(8, 2, 8, dropout=0.5, batch_first=True)
        self.last, self.fc = nn.Dropout(0.5), nn.Linear(256, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.shared(self.first(x))
        x = self.attention(x.flatten(1, 2)).reshape(x.shape)
        x = self.shared(self.second(x))
        return self.fc(self.last(x.flatten(1)))


FIRST = ["first", "first.conv", "first.drop"]
LAYER = {
    *("attention", "attention.self_attn", "attention.self_attn.out_proj", "attention.dropout"),
    *("attention.dropout1", "attention.dropout2", "attention.linear1", "attention.linear2"),
    *("attention.norm1", "attention.norm2"),
}
SECOND = {"second", "second.conv", "second.drop"}


@pytest.mark.parametrize(
    ("head_end", "found"),
    [
        ("first.conv", {"first.conv"}),
        ("first.drop", {"first.conv", "first.drop"}),
        ("first.relu", {"first.conv", "first.drop"}),
        ("first", {*FIRST}),
        ("shared", {*FIRST}),
        ("attention", {*FIRST, *LAYER}),
        ("second", {*FIRST, *LAYER, *SECOND}),
        ("shared_1", {*FIRST, *LAYER, *SECOND, "shared"}),
        ("flatten_1", {*FIRST, *LAYER, *SECOND, "shared"}),
        ("last", {*FIRST, *LAYER, *SECOND, "shared", "last"}),
    ],
)
def test_modules_of_a_head(head_end: str, found: set[str]) -> None:
    assert set(head_modules(Net(), head_end, SHAPE)) == found


def test_names_of_a_normalised_network_are_its_own() -> None:
    net = build(ArchSpec(name="tiny_cnn"), seed=0)
    found = head_modules(net, "block1")
    assert {"net.block1", *(f"net.block1.{n}" for n, _ in net.net.block1.named_children())} <= {
        *found
    }
    assert not any(name.startswith("net.block2") or name in ("", "net") for name in found)
    with pytest.raises(UnknownName):
        head_modules(net, "blok1")


def test_a_head_of_these_answers_as_in_eval_mode() -> None:
    net = Net()
    found: list[Tensor] = []
    net.second.register_forward_hook(lambda *given: found.append(given[-1]))
    images = torch.rand(4, *SHAPE)
    net.eval()(images)
    net.train()
    for path in head_modules(net, "second", SHAPE):
        net.get_submodule(path).training = False
    assert net.last.training
    assert net.shared.training
    net.shared.training = False
    net(images)
    assert torch.equal(found[0], found[-1])
