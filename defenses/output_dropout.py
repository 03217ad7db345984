"""Dropout of the body's output on the client (Liu and Xiong 2024, "Ensembler", row "DR-single": a
dropout layer where Ensembler has its selector, in one network trained in one round).
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from splitlab.contracts import Defense
from splitlab.errors import BadInput
from splitlab.randomness import Draw

Share = Annotated[float, Field(ge=0, lt=1, description="probability of an element to be lost")]


class OutputDropout(Defense):
    """y' = y * m / (1 - level), m = 0 with probability `level` and else 1, before the tail.

    A dropout layer: what is kept is rescaled, in training and at inference alike, so that the tail
    is fed the same mean in both. It stays active at inference, with a mask of every request's and
    row's own. Nothing changes on the wire in either direction: the server's answer is thinned out
    after it came back. With several bodies each answer has a mask of its own.

    Args:
        level: probability of an element to be lost. The default is Ensembler's 1 - P/N.
    """

    name: ClassVar[str] = "output-dropout"
    source: ClassVar[str] = "Liu and Xiong 2024, Ensembler, section 5.2 (DR-single; 1 - 4/10)"
    owns: ClassVar[frozenset[str]] = frozenset({"outputs"})
    retrains: ClassVar[bool] = True

    level: Share = 0.6

    def check(self, tail_start: str | None) -> None:
        if tail_start is None:
            raise BadInput(
                "output-dropout acts between body and tail, and the client has no tail: a dropout "
                "on the logits would be another defence; give --tail-start (e.g. avgpool)"
            )

    def recombine(self, outputs: list[Tensor], draw: Draw) -> list[Tensor]:
        return [
            drop_out(output, draw.uniform(output, f"{self.name} {i}"), self.level)
            for i, output in enumerate(outputs)
        ]


def drop_out(output: Tensor, uniform: Tensor, level: float) -> Tensor:
    """[B, *] and numbers uniform in [0, 1) of its shape -> what a dropout layer makes of it."""
    return output * (uniform >= level).to(output) / (1 - level)
