"""Where finished inverses stand: one training of DCI serves every depth up to its own.

Inverses of the first k blocks depend on those blocks, the images and the settings alone, so that
files are found by a hash of just these: whoever attacks at another depth, or goes on after a kill,
takes them from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from torch import Tensor, nn

from adversary.inversion.dci.chain import Block
from splitlab.errors import Corrupt
from splitlab.storage import (
    canonical_json,
    hash_tensors,
    lock,
    read_tensors,
    sha256,
    write_tensors,
)

REMEDY = "remove it; the blocks are trained again"


@dataclass(frozen=True)
class Shelf:
    """
    Args:
        folder: of files; made when the first is written.
        about: what all of them depend on, JSON.
        blocks: of the target; the first k count for a file, or all of them.
        whole: whether the losses of block k see the blocks behind it.
        keep_last: whether the deepest inverses depend on nothing else, such as a defence.
    """

    folder: Path
    about: Mapping[str, Any]
    blocks: Sequence[Block]
    whole: bool
    keep_last: bool

    def take(self, inverses: Sequence[nn.Module]) -> int:
        """Fill the first k inverses from the deepest file there is; k, or 0.

        Raises:
            Corrupt: that file is damaged.
        """
        for k in range(len(inverses), 0, -1):
            path = self._path(k)
            if path is not None and path.exists():
                saved = read_tensors(path, REMEDY)
                try:
                    nn.ModuleList(inverses[:k]).load_state_dict(saved)
                except RuntimeError as error:
                    raise Corrupt(
                        path, "it holds other tensors than these inverses'", REMEDY
                    ) from error
                return k
        return 0

    def turn(self) -> FileLock:
        """Held by whoever trains for this folder."""
        return lock(self.folder)

    def put(self, inverses: Sequence[nn.Module]) -> None:
        """Keep the first k inverses, those of a finished depth."""
        path = self._path(len(inverses))
        if path is not None:
            state = nn.ModuleList(inverses).state_dict()
            write_tensors(path, {key: value.cpu().contiguous() for key, value in state.items()})

    def _path(self, k: int) -> Path | None:
        if k == len(self.blocks) and not self.keep_last:
            return None
        seen = self.blocks if self.whole else self.blocks[:k]
        tensors: dict[str, Tensor] = {}
        for number, block in enumerate(seen):
            state = block.module.state_dict()
            tensors |= {f"{number}.{key}": value.cpu() for key, value in state.items()}
        shapes = [[list(block.given), list(block.made)] for block in seen]
        text = canonical_json({**self.about, "depth": k, "shapes": shapes})
        return self.folder / f"{sha256(text, hash_tensors(tensors).encode())[:32]}.safetensors"
