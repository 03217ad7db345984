"""An untrained head in the trained one's place (Liu and Xiong 2024, "Ensembler", row "Random": as
much as obfuscation can do, at the cost of the accuracy).
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from defenses.parts.prepare import Finishes, Order, scatter
from splitlab.contracts import Defense
from splitlab.deployment.halves import Halves
from splitlab.models import build
from splitlab.split import cut


class RandomHead(Finishes, Defense):
    """The client runs a head with the weights of no training; bodies and tail stay as trained.

    The network is trained whole and undefended, then its head is replaced by one of the same
    layers as they are before training: random weights, batch norms at mean 0 and variance 1.
    """

    name: ClassVar[str] = "random-head"
    source: ClassVar[str] = "Liu and Xiong 2024, Ensembler, Table 3 (Random)"
    owns: ClassVar[frozenset[str]] = frozenset({"head"})

    def finish(self, halves: Halves, order: Order) -> Halves:
        net = build(halves.arch, seed=0)
        head = cut(net, halves.head_end, halves.tail_start, halves.arch.input.shape).head
        scatter(head, order.secret.derive(self.name))
        return dataclasses.replace(halves, head=head)
