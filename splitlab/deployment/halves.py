"""A defended split network in one process: what training makes and `write_deployment` takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from splitlab.contracts import ArchSpec, Defended
from splitlab.deployment.selector import Selector
from splitlab.errors import BadInput
from splitlab.randomness import Draw
from splitlab.split import Part


@dataclass(frozen=True)
class Halves:
    """A trained, defended split network before it is written.

    Args:
        arch: the network of head, one body and tail, as data.
        head_end, tail_start: the two split points; no `tail_start` leaves a tail without layers.
        head: images [B, 3, S, S] in [0, 1] -> z.
        bodies: z' [B, *feature_shape] -> y each, all of one shape, in the order of their ids.
        tail: what the selector makes -> logits; from `widen` where several bodies are chosen.
        protectors: act on z, in order.
        selector: which bodies' outputs the tail is fed.
        facts: how it was trained (epochs, seconds, losses); JSON values, nothing secret.
    """

    arch: ArchSpec
    head_end: str
    tail_start: str | None
    head: Part
    bodies: tuple[Part, ...]
    tail: Part
    protectors: nn.ModuleList
    selector: Selector
    facts: dict[str, Any] = field(default_factory=dict)

    def logits(self, images: Tensor, draw: Draw, defended: Defended | None = None) -> Tensor:
        """Images [B, 3, S, S] in [0, 1] -> logits [B, classes], as client and server compute them.

        Args:
            draw: fresh randomness of the protectors, and of what acts after the bodies.
            defended: the stack, for what it does to the bodies' outputs; None leaves them.
        """
        feature = self.head(images)
        for protector in self.protectors:
            feature = protector(feature, draw)
        outputs = [body(feature) for body in self.bodies]
        if defended is not None:
            outputs = defended.recombine(outputs, draw)
        return self.tail(self.selector(outputs))

    def check(self) -> None:
        """Whether the parts fit each other; runs two blank images.

        Raises:
            BadInput: names the two that do not fit, with their shapes.
        """
        if self.selector.total != len(self.bodies):
            raise BadInput(
                f"the selector chooses among {self.selector.total} bodies and there are "
                f"{len(self.bodies)}; make it for as many as there are"
            )
        blank = torch.zeros(2, *self.arch.input.shape)
        with torch.inference_mode():
            shape = tuple(self.head(blank).shape[1:])
            for name, value in self.protectors.named_buffers():
                if name.endswith("noise") and tuple(value.shape)[-len(shape) :] != shape:
                    raise BadInput(
                        f"noise {name!r} has shape {list(value.shape)}, one feature has "
                        f"{list(shape)}; draw it for this head"
                    )
            outputs = {tuple(body(blank.new_zeros(2, *shape)).shape[1:]) for body in self.bodies}
        for protector in self.protectors:
            if not getattr(protector, "ready", True):
                raise BadInput(
                    f"the protector {protector.purpose!r} has learned nothing yet and would "
                    "protect nothing; let `defenses.parts.prepare` finish the network"
                )
        if len(outputs) != 1:
            raise BadInput(f"the bodies answer with different shapes: {sorted(outputs)}")
        fed = self.selector.output_shape(outputs.pop())
        if fed != self.tail.input_shape:
            raise BadInput(
                f"the selector feeds the tail {list(fed)} ({len(self.selector.chosen)} of "
                f"{self.selector.total} bodies), the tail takes {list(self.tail.input_shape)}; "
                "widen it for as many outputs as are chosen"
            )
