"""What the server needs of a server half; `splitlab.deployment.ServerHalf` has all of it."""

from __future__ import annotations

from typing import Protocol

from torch import nn

from splitlab.contracts import FeatureSpec


class ServedHalf(Protocol):
    """Bodies and what they are fed. Nothing here reveals head, tail, selector or seed."""

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
    def body_ids(self) -> list[int]: ...
    @property
    def bodies(self) -> nn.ModuleList: ...
