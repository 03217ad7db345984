"""A granted head as the chain of its blocks: image -> u_1 -> u_2 -> ... -> u_L, the feature.

A block ends where the next layer with weights begins: batch norms, activations and pooling belong
to the convolution before them, and a residual block is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from torch import Tensor, nn

from adversary.contract.threat import ThreatModel
from splitlab.contracts import ArchSpec
from splitlab.models import build
from splitlab.split import cut, find_point, load_part_state, part_state, split_points
from splitlab.split.parts import Part


class Block(NamedTuple):
    """
    Args:
        name: the split point that it ends at.
        module: frozen, in eval mode.
        given, made: shapes of one input and of one output.
    """

    name: str
    module: nn.Module
    given: tuple[int, ...]
    made: tuple[int, ...]


class Group(nn.Module):
    """Blocks that are inverted as one.

    Args:
        blocks: one after another.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        super().__init__()
        self.blocks = list(blocks)
        self.parts = nn.ModuleList(block.module for block in blocks)

    def forward(self, value: Tensor) -> Tensor:
        for module in self.parts:
            value = module(value)
        return value


class Normalising(nn.Module):
    """The first block, fed normalised images: what its inverse gives.

    Args:
        mean, std: of the network's input, [1, 3, 1, 1] each.
    """

    def __init__(self, block: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.block, self.mean, self.std = block, mean, std
        self.graph = getattr(block, "graph", None)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.block(images * self.std + self.mean)
        return found


def grouped(blocks: Sequence[Block]) -> list[Block]:
    """Those of a stage as one: neighbours `layer1.0`, `layer1.1`, ... that differ in their number.

    The first block, which is fed the image, stays by itself.
    """
    found: list[Block] = list(blocks[:1])
    for stage, members in groupby(blocks[1:], key=_stage):
        alike = list(members)
        if stage is None or len(alike) == 1:
            found += alike
        else:
            first, last = alike[0], alike[-1]
            found.append(Block(last.name, Group(alike).eval(), first.given, last.made))
    return found


def _stage(block: Block) -> str | None:
    stage, _, number = block.name.rpartition(".")
    return stage if number.isdigit() else None


def chain(threat: ThreatModel, who: str) -> list[Block]:
    """Blocks between the split points up to the head's end; composed they are the head.

    Raises:
        MissingKnowledge: no head, no architecture, or no place of the cut.
    """
    head: Part = threat.need("head", who)
    arch: ArchSpec = threat.need("arch", who)
    end: str = threat.need("head_end", who)
    state: dict[str, Tensor] = part_state(head)
    net, shape = build(arch, seed=0), arch.input.shape
    points = split_points(net, shape)
    last = find_point(points, end)
    kept = [point for point in points if point.index < last.index] + [last]
    ends = [
        point.name
        for point, following in zip(kept, [*kept[1:], None], strict=True)
        # Only convolutions and matrices are counted: what has none joins the block before it.
        if following is None or following.head_macs > point.head_macs
    ]
    blocks: list[Block] = []
    before: str | None = None
    for name in ends:
        if before is None:
            part = cut(net, name, None, shape).head
        else:
            part = cut(net, before, name, shape).body
        load_part_state(part, {key: state[key] for key in part_state(part)})
        given = shape if before is None else blocks[-1].made
        blocks.append(Block(name, part.eval().requires_grad_(False), given, part.output_shape))
        before = name
    return blocks
