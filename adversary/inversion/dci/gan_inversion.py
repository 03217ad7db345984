"""A generator inverted block by block (Dong et al., DCI, section 4.3): image -> latent.

The blocks are a linear layer, residual blocks that double the side, and a last convolution; their
inverses are a linear layer, which starts at the pseudo-inverse of the known weights, and residual
blocks that halve it, trained in DCI's phases and with its losses.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adversary.contract.workplace import ALONE, Workplace
from adversary.inversion.dci.chain import Block
from adversary.inversion.dci.lessons import Lessons
from adversary.inversion.dci.shelf import Shelf
from adversary.inversion.dci.training import InverseSchooling, divide_and_conquer
from splitlab.models.sngan import SNGAN_LATENTS, GBlock, SNGANGenerator
from splitlab.storage import hash_tensors

INNER = 64
"""Channels of the last convolution's inverse."""
SHY = 0.999
"""An image's values are kept below this before the inverse of tanh."""


class InverseGBlock(nn.Module):
    """[B, after, 2H, 2W] -> [B, before, H, W]: two convolutions with batch norms, beside one."""

    def __init__(self, before: int, after: int, *, halve: bool) -> None:
        super().__init__()
        pool = [nn.AvgPool2d(2)] if halve else []
        self.main = nn.Sequential(
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, before, 3, padding=1),
            nn.BatchNorm2d(before),
            nn.ReLU(),
            nn.Conv2d(before, before, 3, padding=1),
            *pool,
        )
        self.around = nn.Sequential(nn.Conv2d(after, before, 1), *pool)

    def forward(self, feature: Tensor) -> Tensor:
        found: Tensor = self.main(feature) + self.around(feature)
        return found


class InverseImage(nn.Module):
    """Images [B, 3, S, S] in [-1, 1] -> what the last block gave [B, C, S, S]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(6, INNER, 3, padding=1),
            nn.BatchNorm2d(INNER),
            nn.ReLU(),
            nn.Conv2d(INNER, channels, 3, padding=1),
        )

    def forward(self, images: Tensor) -> Tensor:
        straight = torch.atanh(images.clamp(-SHY, SHY))
        found: Tensor = self.layers(torch.cat([images, straight], 1))
        return found


class Chain(nn.Sequential):
    """Parts of a generator, all of them, one after another."""

    def parts(self) -> list[nn.Module]:
        return list(self)


Generator = SNGANGenerator | Chain


def chain_of(net: Generator) -> list[Block]:
    """Its parts as blocks, frozen."""
    blocks, given = [], (SNGAN_LATENTS,)
    value = torch.zeros(1, SNGAN_LATENTS, device=next(net.parameters()).device)
    for number, part in enumerate(net.parts()):
        with torch.no_grad():
            value = part(value)
        made = tuple(value.shape[1:])
        blocks.append(Block(f"part{number + 1}", part.eval().requires_grad_(False), given, made))
        given = made
    return blocks


def inverse_of(block: Block) -> nn.Module:
    """The mirrored module of one part."""
    if isinstance(block.module, GBlock):
        halve = block.made[-1] != block.given[-1]
        return InverseGBlock(block.given[0], block.made[0], halve=halve)
    if len(block.given) == 1:
        return nn.Sequential(nn.Flatten(), _pseudo_inverse(block))
    return InverseImage(block.given[0])


@torch.no_grad()
def _pseudo_inverse(block: Block) -> nn.Linear:
    """Where the inverse of a linear layer starts: gradient descent alone would take its time for
    what the weights tell at once, and what z is has to be seen by the blocks after it.
    """
    place = next(block.module.parameters()).device
    offset = block.module(torch.zeros(1, *block.given, device=place)).flatten()
    columns = block.module(torch.eye(block.given[0], device=place)).flatten(1) - offset
    back = torch.linalg.pinv(columns.T.double().cpu())
    found = nn.Linear(back.shape[1], back.shape[0])
    found.weight.copy_(back)
    found.bias.copy_(-(back @ offset.double().cpu()))
    return found


def invert(
    net: Generator,
    schooling: InverseSchooling,
    *,
    latents: int,
    seed: int,
    work: Workplace = ALONE,
) -> tuple[nn.Module, list[dict[str, float]]]:
    """Train the inverse on latents of the adversary's own; as many as it likes.

    Args:
        latents: z ~ N(0, I) to learn from.
        work: finished depths are kept beside its checkpoint.

    Returns:
        Images [B, 3, S, S] in [-1, 1] -> z [B, 128], in eval mode; and the losses of each depth.
    """
    blocks = chain_of(net.to(work.place))
    draw = torch.Generator().manual_seed(seed)
    inputs = torch.randn(latents, SNGAN_LATENTS, generator=draw).to(work.place)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inverses = [inverse_of(block).to(work.place) for block in blocks]
    lessons = Lessons.of(blocks, inputs)
    shelf = None
    if work.checkpoint is not None:
        about = {"schooling": vars(schooling), "inputs": hash_tensors({"z": inputs}), "seed": seed}
        folder = work.checkpoint.with_name("blocks")
        shelf = Shelf(folder, about, blocks, schooling.whole_cycle, keep_last=True)
    told = divide_and_conquer(inverses, lessons, schooling, seed=seed, work=work, shelf=shelf)
    return nn.Sequential(*reversed(inverses)).eval(), told
