"""Convolutions that are added become one where they read the same; others stay as they are."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Tracer, symbolic_trace

from splitlab.contracts import ArchSpec
from splitlab.models import build
from splitlab.split import cut
from splitlab.split.branches import merge_branches
from splitlab.split.folding import fold_batch_norm


def _lived(net: nn.Module, *shape: int) -> nn.Module:
    """With running statistics that are no longer those of the start, in eval mode."""
    torch.manual_seed(0)
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d) and norm.affine:
            nn.init.uniform_(norm.weight, 0.5, 2)
            nn.init.normal_(norm.bias)
    for _ in range(3):
        net.train()(torch.randn(8, *shape))
    return net.eval()


@pytest.mark.parametrize("end", ["stage0", "stage2.2", "stage3.2"])
def test_a_repvgg_in_train_form_is_folded_to_one_convolution_a_block(end: str) -> None:
    arch = ArchSpec(name="repvgg_mini")
    net = _lived(build(arch, seed=0), *arch.input.shape)
    head = cut(net, end, "gap", arch.input.shape).head.eval()
    folded = fold_batch_norm(copy.deepcopy(head))
    kinds = [type(part) for part in folded.modules()]
    blocks = {"stage0": 1, "stage2.2": 5, "stage3.2": 8}[end]
    assert kinds.count(nn.Conv2d) == blocks
    assert nn.BatchNorm2d not in kinds
    one, other = (torch.rand(4, *arch.input.shape, requires_grad=True) for _ in range(2))
    other.data.copy_(one.data)
    wanted, given = head(one), folded(other)
    wanted.square().sum().backward()
    given.square().sum().backward()
    assert one.grad is not None
    assert other.grad is not None
    for found, right in ((given.detach(), wanted.detach()), (other.grad, one.grad)):
        assert float((found - right).abs().max()) <= 1e-5 * float(right.abs().max())


class _Sum(nn.Module):
    def __init__(self, one: nn.Module, other: nn.Module, step: int = 1, again: bool = False):
        super().__init__()
        self.one, self.other, self.step, self.again = one, other, step, again

    def forward(self, x: Tensor) -> Tensor:
        left = self.one(x)
        right = self.other(x if self.step == 1 else x[:, :, :: self.step, :: self.step])
        return left + right + (left if self.again else 0)


def _merged(module: nn.Module, *, even: bool = False) -> bool:
    """Whether anything was; that the answer is the same is checked, gradients' flags as well."""
    traced = symbolic_trace(_lived(module, 4, 10, 10 if even else 9))
    x = torch.randn(2, 4, 10, 10 if even else 9)
    wanted = traced(x)
    changed = merge_branches(traced)
    assert torch.allclose(traced(x), wanted, atol=1e-5)
    return changed


def test_kernels_strides_and_batch_norms_are_merged() -> None:
    conv = nn.Conv2d
    assert _merged(_Sum(conv(4, 6, 5, 1, 2), conv(4, 6, 3, 1, 1, bias=False)))
    assert _merged(_Sum(conv(4, 6, 3, 2, 1), conv(4, 6, 1), step=2))
    assert _merged(_Sum(conv(4, 6, 3, 3, 1), conv(4, 6, 1), step=3), even=True)
    assert _merged(_Sum(conv(4, 4, 3, 1, 1), nn.BatchNorm2d(4)))
    assert _merged(_Sum(conv(4, 4, 3, 1, 1), nn.BatchNorm2d(4, affine=False)))


def test_what_differs_otherwise_stays_as_it_is() -> None:
    conv = nn.Conv2d
    assert not _merged(_Sum(conv(4, 4, 3, 1, 1), conv(4, 4, 3, 1, 1, groups=2)))
    assert not _merged(_Sum(conv(4, 4, 3, 1, 2, dilation=2), conv(4, 4, 1)))
    assert not _merged(_Sum(conv(4, 4, 3, 1, 1, padding_mode="reflect"), conv(4, 4, 1)))
    assert not _merged(_Sum(conv(4, 4, 3, 1, 1), conv(4, 4, 1), again=True))
    assert not _merged(_Sum(conv(4, 4, 2, 1, 0), conv(4, 4, 2, 1, 0)))
    assert not _merged(_Sum(conv(4, 4, 3, 1, 1), nn.Sequential(nn.ReLU(), conv(4, 4, 1))))
    assert not _merged(_Sum(nn.BatchNorm2d(4), nn.BatchNorm2d(4)))  # cheaper as they are


@pytest.mark.parametrize(
    "change",
    [
        nn.ReLU(inplace=True),
        lambda x: x.relu_(),
        lambda x: x[:, :, ::2].add_(1),
    ],
)
def test_an_input_that_changes_between_its_readers_is_read_twice(change: Any) -> None:
    class Changed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Conv2d(4, 4, 3, 1, 1), nn.Conv2d(4, 4, 1)
            self.change = change

        def forward(self, x: Tensor) -> Tensor:
            x = x * 2
            left = self.one(x)
            self.change(x)
            return left + self.other(x)

    assert not _merged(Changed())


class add(nn.Module):  # noqa: N801
    """A leaf of the name of an operation."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return left * right


def test_a_module_that_is_called_add_is_not_a_sum() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other, self.add = nn.Conv2d(4, 4, 3, 1, 1), nn.Conv2d(4, 4, 1), add()

        def forward(self, x: Tensor) -> Tensor:
            product: Tensor = self.add(self.one(x), self.other(x))
            return product

    net = Named().eval()

    class Leaves(Tracer):
        def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
            return isinstance(m, add) or super().is_leaf_module(m, module_qualified_name)

    assert not merge_branches(GraphModule(net, Leaves().trace(net)))


def test_branches_in_training_mode_stay() -> None:
    traced = symbolic_trace(_Sum(nn.Conv2d(4, 4, 3, 1, 1), nn.BatchNorm2d(4))).train()
    assert not merge_branches(traced)
