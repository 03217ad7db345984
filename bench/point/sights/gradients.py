"""The gradient of one batch of victims: what a server of split or federated training is sent.

Nothing has to cross a wire for it; utility and rate are of the victims' images, which do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.point.identity.config import PointConfig
from bench.point.lab import Lab
from bench.point.sights.base import Truth
from bench.point.sights.wire import OverTheWire, drawn
from defenses import parse_file
from splitlab.contracts import Gradients, Seen
from splitlab.data import ImageSet
from splitlab.deployment import ClientHalf, Selector, ServerHalf
from splitlab.errors import Unavailable
from splitlab.randomness import FreeDraw, generator


class OfABatch(OverTheWire):
    """`attacked` victims make the batch; the deployed network has its defence acting.

    Which bodies have a gradient tells which of them the client uses. Where it uses some of them in
    secret (Ensembler), gradients are shown to who is granted the `selector`, and to nobody else.
    """

    SHOWS: tuple[type[Seen], ...] = (Gradients,)

    def __init__(self, config: PointConfig, lab: Lab) -> None:
        client = ClientHalf.load(lab.deployed(config) / "deployment" / "client", parse_file)
        require_no_secret(client.selector, config.grant.selector, config.attack)
        super().__init__(config, lab)

    def seen(self) -> tuple[Gradients]:
        batch, folder = self._sent(), self._place / "deployment"
        client = ClientHalf.load(folder / "client", parse_file)
        bodies = ServerHalf.load(folder / "server").bodies
        parts = {"head": client.head, "bodies": bodies, "tail": client.tail}
        for module in parts.values():
            module.requires_grad_(True)
        draw = FreeDraw(generator(self._config.seed, "gradients"))

        def logits(images: Tensor) -> Tensor:
            feature = client.protect(client.head(images), draw)
            found: Tensor = client.tail(client.select([body(feature) for body in bodies], draw))
            return found

        gradients = batch_gradients(parts, logits(batch.floats()), batch.labels)
        labels = batch.labels if self._config.grant.labels else None
        return (Gradients(tuple(self._join), gradients, labels),)

    def truth(self) -> Truth:
        batch = self._sent()
        told = f"the gradient is of {len(batch)} images together and tells no order of them"
        doubts = (f"{told}: answers are compared in the order in which they came",)
        found = replace(super().truth(), join=self._join)
        return found if len(batch) == 1 else replace(found, doubts=doubts)

    def _sent(self) -> ImageSet:
        victims, config = self._victims(), self._config
        return victims.subset(drawn(len(victims), config.attacked, config.seed))

    @property
    def _join(self) -> Mapping[str, int]:
        return {f"batch/{row}": row for row in range(len(self._sent()))}


def require_no_secret(selector: Selector, granted: bool, who: str) -> None:
    """
    Raises:
        Unavailable: gradients would tell which bodies the client uses, which is not granted.
    """
    used = len(selector.chosen)
    if used < selector.total and not granted:
        raise Unavailable(
            f"the client uses {used} of {selector.total} bodies in secret, and the gradient would "
            f"tell {who} which; gradients are shown to an attack that asks for 'selector'"
        )


def batch_gradients(
    parts: Mapping[str, nn.Module], logits: Tensor, labels: Tensor
) -> dict[str, Tensor]:
    """Of the mean cross-entropy, for all parameters in use: names are those of the granted modules,
    such as `threat.head`'s `named_parameters`, behind "head.", "bodies.0." or "tail.".

    Args:
        parts: modules that have made the logits, by name.
    """
    named = {
        f"{part}.{name}": parameter
        for part, module in parts.items()
        for name, parameter in module.named_parameters()
    }
    found = torch.autograd.grad(
        F.cross_entropy(logits, labels), list(named.values()), allow_unused=True
    )
    pairs = zip(named, found, strict=True)
    return {name: gradient for name, gradient in pairs if gradient is not None}
