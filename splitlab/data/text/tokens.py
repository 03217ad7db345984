"""Sentence pairs as numbers of words."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from splitlab.data.text.vocabulary import SPECIAL
from splitlab.errors import BadInput


@dataclass(frozen=True, eq=False)
class Sentences:
    """Words, <eos>, <pad>... of both languages.

    Args:
        source: int64 [N, source_length].
        target: int64 [N, target_length].

    Raises:
        BadInput: another number of the one than of the other, or none.
    """

    source: Tensor
    target: Tensor

    def __post_init__(self) -> None:
        if len(self.source) != len(self.target) or not len(self.source):
            raise BadInput(
                f"{len(self.source)} source and {len(self.target)} target sentences; "
                "wanted as many of each, and at least one"
            )

    def __len__(self) -> int:
        return len(self.source)

    @property
    def tokens(self) -> Tensor:
        """Both, side by side: int64 [N, source_length + target_length]."""
        return torch.cat([self.source, self.target], dim=1)

    def first(self, count: int | None) -> Sentences:
        """The first `count` of them, all for None."""
        return Sentences(self.source[:count], self.target[:count])

    @property
    def worded(self) -> Sentences:
        """Those whose source has a word of the vocabulary, which can be read."""
        kept = (self.source >= len(SPECIAL)).any(1)
        return Sentences(self.source[kept], self.target[kept])
