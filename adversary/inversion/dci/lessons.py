"""What inverse modules learn from (Dong et al., DCI, section 3.1): images and the frozen target's
features at every depth, computed once and not once for each loss.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from adversary.contract.believed import Spoil
from adversary.inversion.dci.chain import Block
from splitlab.split.folding import fold_batch_norm

KEPT_BYTES = 2 << 30
"""Features of all images are kept up to this size; above it the target runs once for each batch."""
PIECE = 128


@dataclass(frozen=True, eq=False)
class Lessons:
    """
    Args:
        blocks: of the target, F_1 to F_L, as fast as they are to be had.
        inputs: [N, ...] as they are kept, e.g. uint8 images.
        prepare: inputs -> u_0 as F_1 takes it.
        spoil: what happens to u_L before the adversary sees it.
        kept: u_0 to u_L of all inputs, or None where they are too large.
    """

    blocks: Sequence[Block]
    inputs: Tensor
    prepare: Callable[[Tensor], Tensor]
    spoil: Spoil
    kept: Sequence[Tensor] | None

    @classmethod
    def of(
        cls,
        blocks: Sequence[Block],
        inputs: Tensor,
        spoil: Spoil | None = None,
        *,
        prepare: Callable[[Tensor], Tensor] = lambda inputs: inputs,
        most: int = KEPT_BYTES,
    ) -> Lessons:
        """Run the target on all inputs, if what comes of it fits into `most` bytes.

        Args:
            blocks: in eval mode; what the lessons hold are copies, folded and channels last.
        """
        blocks = [block._replace(module=_quick(block.module)) for block in blocks]
        unspoilt = spoil or (lambda feature, _rng: feature)
        numbers = inputs[0].numel() + sum(math.prod(block.made) for block in blocks)
        made = cls(blocks, inputs, prepare, unspoilt, None)
        if 4 * numbers * len(inputs) > most:
            return made
        parts = [made._run(part, len(blocks)) for part in inputs.split(PIECE)]
        kept = [torch.cat(level) for level in zip(*parts, strict=True)]
        return cls(blocks, inputs, prepare, unspoilt, kept)

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def kept_bytes(self) -> int:
        """Of `kept`; 0 without."""
        return sum(level.nbytes for level in self.kept or ())

    def levels(self, rows: Tensor, last: int | None = None) -> list[Tensor]:
        """u_0 to u_last of some inputs, [B, ...] each; to u_L by default."""
        last = len(self.blocks) if last is None else last
        if self.kept is not None:
            return [level[rows] for level in self.kept[: last + 1]]
        return self._run(self.inputs[rows], last)

    @torch.no_grad()
    def _run(self, inputs: Tensor, last: int) -> list[Tensor]:
        found = [self.prepare(inputs)]
        for block in self.blocks[:last]:
            found.append(block.module(found[-1]))
        return found


def _quick(module: nn.Module) -> nn.Module:
    return fold_batch_norm(copy.deepcopy(module)).to(memory_format=torch.channels_last)
