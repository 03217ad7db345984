"""What the client needs of a client half; `splitlab.deployment.ClientHalf` has all of it."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from splitlab.contracts import FeatureSpec, InputSpec
from splitlab.randomness import Draw, Secret


class UsedHalf(Protocol):
    """Head, protectors, secret selector and tail, and what belongs on the wire."""

    @property
    def model_name(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def feature(self) -> FeatureSpec: ...
    @property
    def outputs(self) -> list[tuple[int, ...]]: ...
    @property
    def wire(self) -> str: ...
    @property
    def max_rows(self) -> int: ...
    @property
    def input(self) -> InputSpec: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def secret(self) -> Secret: ...
    def head(self, images: Tensor, /) -> Tensor:
        """Images [B, 3, H, W] in [0, 1] -> z [B, *feature_shape]."""
        ...

    def protect(self, feature: Tensor, draw: Draw) -> Tensor:
        """z -> z', same shape."""
        ...

    def select(self, outputs: list[Tensor], draw: Draw) -> Tensor:
        """All N outputs [B, *output_shape] -> what the tail is fed."""
        ...

    def tail(self, selected: Tensor, /) -> Tensor:
        """-> logits [B, classes]."""
        ...
