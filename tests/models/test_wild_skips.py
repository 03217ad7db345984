"""The variant `skip` where a user's or timm's network adds in a way of its own."""

import copy

import pytest
import torch
from torch import nn

from splitlab.errors import BadInput
from splitlab.models.variants import changes_in_place, varied
from splitlab.models.variants.skips import skips_scaled

X = torch.rand(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))


class Adds(nn.Module):
    """x + f(x), written as `how` says."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.f = how, nn.Conv2d(4, 4, 3, 1, 1)

    def forward(self, x):
        made = self.f(x)
        if self.how == "alpha":
            return torch.add(x, made, alpha=0.5)
        if self.how == "alpha of the skip":
            return made.add(x, alpha=0.5)
        if self.how == "named":
            return torch.add(input=x, other=made)
        if self.how == "method named":
            return made.add(other=x)
        if self.how == "in place, answer unused":
            made.add_(x)
            return made
        if self.how == "into the input":
            x = x * 1.0
            x.add_(made)
            return x
        return x + made


# how it is written -> the weights of the branch and of the skip
WRITTEN = {
    "alpha": (0.5, 1),
    "alpha of the skip": (1, 0.5),
    "named": (1, 1),
    "method named": (1, 1),
    "in place, answer unused": (1, 1),
    "into the input": (1, 1),
}


@pytest.mark.parametrize("factor", [0, 0.25, 1])
@pytest.mark.parametrize("how", WRITTEN)
def test_only_the_skip_is_scaled_however_the_sum_is_written(how: str, factor: float) -> None:
    net = nn.Sequential(Adds(how), nn.Identity())
    branch, skip = WRITTEN[how]
    wanted = branch * net[0].f(X) + factor * skip * X
    assert torch.allclose(varied(net, {"skip": {"0": factor}})(X), wanted, atol=1e-6)


class Flat(nn.Module):
    """Blocks that are children of the network, one in a stage, and a sum of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Adds("plain"), Adds("plain")
        self.stage = nn.Sequential(Adds("plain"))
        self.last = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        x = self.stage(self.second(self.first(x)))
        return x + self.last(x)


@pytest.mark.parametrize(
    ("skip", "factors"),
    [
        ([0, 0.5, 2, 0.25], (0.25, 0, 0.5, 2)),
        ({"second": 0}, (1, 1, 0, 1)),
        ({"skip": 0, "first.skip": 0.5}, (0, 0.5, 1, 1)),
    ],
)
def test_blocks_without_a_stage_are_stages(skip, factors) -> None:
    net = Flat()
    plain = copy.deepcopy(net)
    own, first, second, stage = factors
    if isinstance(skip, list):  # in the order of the modules: the network's own sum comes first
        own, first, second, stage = skip
    x = plain.first.f(X) + first * X
    x = plain.second.f(x) + second * x
    x = plain.stage[0].f(x) + stage * x
    assert torch.allclose(skips_scaled(net, skip)(X), plain.last(x) + own * x, atol=1e-5)


class Tree(nn.Module):
    """As DLA: the first block is given what is added, the second adds its own input."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.f = nn.Conv2d(4, 4, 3, 1, 1)

        def forward(self, x, shortcut=None, children=None):
            del children
            if shortcut is None:
                shortcut = x
            out = self.f(x)
            out += shortcut
            return out

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Conv2d(4, 4, 1)
        self.blocks = nn.Sequential(Tree.Block(), Tree.Block())

    def forward(self, x):
        return self.blocks[1](self.blocks[0](x, shortcut=self.project(x)))


@pytest.mark.parametrize("factor", [0, 0.5, 1])
def test_what_is_given_to_be_added_is_a_skip(factor: float) -> None:
    net = Tree()
    plain = copy.deepcopy(net)
    x = plain.blocks[0].f(X) + factor * plain.project(X)
    wanted = plain.blocks[1].f(x) + factor * x
    changed = skips_scaled(net, [factor])
    assert torch.allclose(changed(X), wanted, atol=1e-6)
    assert torch.equal(copy.deepcopy(changed)(X), changed(X))
    later = copy.deepcopy(plain)
    for now in (1, factor):  # opened, and then changed in place
        for change in changes_in_place(later, {"skip": [now]}):
            change()
    assert torch.allclose(later(X), wanted, atol=1e-6)


class Joins(nn.Module):
    def forward(self, x):
        return torch.cat([x, x], 1)


class Decides(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        out = self.f(x)
        return out + x if out.shape == x.shape and x.shape[1] > 2 else out


@pytest.mark.parametrize(
    ("net", "skip", "words"),
    [
        (nn.Sequential(Joins()), [0], r"Joins join tensors.*changes no widths"),
        (nn.Sequential(Adds("plain"), Joins()), {"1": 0}, r"1 of Sequential.*are 0; Joins join"),
        (nn.Sequential(Decides()), [0], r"Python decides on values or shapes in the forward of 0"),
        (nn.Sequential(Adds("plain")), {"9": 0}, r"stages with skips are 0$"),
    ],
)
def test_what_is_not_reached_is_named(net, skip, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        skips_scaled(net, skip)
