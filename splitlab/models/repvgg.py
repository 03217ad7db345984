"""RepVGG (Ding et al. 2021, arXiv:2101.03697): trained with three branches a block, deployed as one
convolution. The target network of DCI (Dong et al.).

Key names are those of DingXiaoH/RepVGG, whose checkpoints of both forms load.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from splitlab.contracts import InputSpec
from splitlab.errors import BadInput
from splitlab.models.checkpoint import load_exactly
from splitlab.models.weights.fitting import with_counters

Form = Literal["train", "deploy"]


class RepVGGBlock(nn.Module):
    """ReLU(BN(3x3) + BN(1x1) + BN(identity, where shapes allow)).

    Args:
        before: channels in.
        after: channels out.
        stride: of the block.
    """

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        same = before == after and stride == 1
        self.rbr_identity = nn.BatchNorm2d(before) if same else None
        self.rbr_dense = _normed(before, after, 3, stride)
        # Subsampled in front of the convolution and not by its stride, which is the same: for the
        # strided kind torch's CPU kernels write past their memory if it has 2 to 7 channels, lying
        # channels last, and its weights' gradient is taken.
        self.rbr_1x1 = _normed(before, after, 1, 1)
        self.stride = stride
        self.nonlinearity = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """[B, before, H, W] -> [B, after, H/stride, W/stride]."""
        sparse = x if self.stride == 1 else x[:, :, :: self.stride, :: self.stride]
        out = self.rbr_dense(x) + self.rbr_1x1(sparse)
        if self.rbr_identity is not None:
            out = out + self.rbr_identity(x)
        return self.nonlinearity(out)

    @torch.no_grad()
    def merged(self) -> tuple[Tensor, Tensor]:
        """Weight [after, before, 3, 3] and bias [after] of the one convolution that does the same
        in eval mode: each branch is a 3x3 kernel times its batch norm's scale.
        """
        dense: Tensor = self.rbr_dense.conv.weight  # type: ignore[union-attr,assignment]
        point: Tensor = self.rbr_1x1.conv.weight  # type: ignore[union-attr,assignment]
        weight, bias = _scaled(dense, self.rbr_dense.bn)  # type: ignore[arg-type]
        more = [_scaled(F.pad(point, (1, 1, 1, 1)), self.rbr_1x1.bn)]  # type: ignore[arg-type]
        if self.rbr_identity is not None:
            unit = torch.eye(len(dense), dtype=dense.dtype, device=dense.device)
            more.append(_scaled(F.pad(unit[:, :, None, None], (1, 1, 1, 1)), self.rbr_identity))
        for kernel, shift in more:
            weight, bias = weight + kernel, bias + shift
        return weight, bias


class MergedBlock(nn.Module):
    """ReLU(3x3 convolution): what a `RepVGGBlock` is deployed as."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.rbr_reparam = nn.Conv2d(before, after, 3, stride, 1)
        self.nonlinearity = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """[B, before, H, W] -> [B, after, H/stride, W/stride]."""
        return self.nonlinearity(self.rbr_reparam(x))


class RepVGG(nn.Module):
    """Blocks, global average pool, linear layer.

    Args:
        stages: (channels, stride) of every block, in stages; the first stage is one block.
        classes: logits.
        channels: of the image.
        form: which of the two.
    """

    def __init__(
        self,
        stages: Sequence[Sequence[tuple[int, int]]],
        classes: int,
        channels: int,
        form: Form,
    ) -> None:
        super().__init__()
        if form not in ("train", "deploy"):
            raise BadInput(f"form={form!r}: wanted train or deploy")
        block = RepVGGBlock if form == "train" else MergedBlock
        before = channels
        for number, stage in enumerate(stages):
            made = []
            for after, stride in stage:
                made.append(block(before, after, stride))
                before = after
            self.add_module(f"stage{number}", made[0] if number == 0 else nn.Sequential(*made))
        self.form, self._like = form, (stages, classes, channels)
        self.stages = [f"stage{number}" for number in range(len(stages))]
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(before, classes)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] -> logits [B, classes]."""
        for name in self.stages:
            x = self.get_submodule(name)(x)
        return self.linear(self.gap(x).flatten(1))

    def own_form(self, state: dict[str, Tensor], source: str) -> dict[str, Tensor]:
        """`state`, its branches merged where it is of the train form and this the deploy form.

        Raises:
            Mismatch: of the train form of another network; `source` is named.
        """
        if self.form == "train" or not any(".rbr_dense." in key for key in state):
            return state
        trained = RepVGG(*self._like, "train").eval()
        state = with_counters(state, trained.state_dict())
        load_exactly(trained, state, source)
        return deployed(state, trained)


def deployed(state: dict[str, Tensor], trained: nn.Module) -> dict[str, Tensor]:
    """The state of the deploy form of a network in train form, or of a wrapper around one.

    Args:
        state: of `trained`; what belongs to no block is kept.
        trained: holds `RepVGGBlock`s with these weights.

    Raises:
        BadInput: there is no block to merge.
    """
    blocks = {n: m for n, m in trained.named_modules() if isinstance(m, RepVGGBlock)}
    if not blocks:
        raise BadInput("no RepVGG block in train form; give a network of form=train")
    kept = {
        key: value
        for key, value in state.items()
        if not any(key.startswith(f"{name}.") for name in blocks)
    }
    for name, block in blocks.items():
        weight, bias = block.merged()
        kept |= {f"{name}.rbr_reparam.weight": weight, f"{name}.rbr_reparam.bias": bias}
    return kept


def _normed(before: int, after: int, kernel: int, stride: int) -> nn.Sequential:
    made = nn.Sequential()
    made.add_module("conv", nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False))
    made.add_module("bn", nn.BatchNorm2d(after))
    return made


def _scaled(kernel: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return kernel * scale[:, None, None, None], norm.bias - norm.running_mean * scale


def repvgg_a0(*, classes: int, spec: InputSpec, form: Form = "train") -> nn.Module:
    """RepVGG-A0: 22 blocks of 48, 96, 192 and 1280 channels; 9.1 M parameters in train form."""
    stages = [
        [(width, 2 if block == 0 else 1) for block in range(depth)]
        for width, depth in ((48, 1), (48, 2), (96, 4), (192, 14), (1280, 1))
    ]
    return RepVGG(stages, classes, spec.channels, form)


def repvgg_mini(*, classes: int, spec: InputSpec, form: Form = "train") -> nn.Module:
    """Eight blocks of 16 to 64 channels, strides in the first, third and sixth: a DCI on a CPU."""
    stages = [[(16, 2)], [(16, 1)], [(32, 2), (32, 1), (32, 1)], [(64, 2), (64, 1), (64, 1)]]
    return RepVGG(stages, classes, spec.channels, form)
