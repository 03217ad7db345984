"""Where `rmle` begins: at what another attack makes of the same features, under the same grant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from adversary.contract.attack import Attack
from adversary.contract.threat import ThreatModel
from adversary.contract.workplace import Fits, Workplace
from adversary.inversion.dci.attack import DCI
from adversary.inversion.decoder import Decoder
from adversary.inversion.psim import PSiM
from splitlab.contracts import Features

Start = Literal["decoder", "psim", "dci", "mean"]
STARTS: dict[Start, type[Attack]] = {"decoder": Decoder, "psim": PSiM, "dci": DCI}


LEAST = 2
"""Images that an inverse network can be learned from."""


def start_of(wanted: Start | None, threat: ThreatModel) -> Start:
    """What is wanted, else "decoder" where it can learn from something, else "mean"."""
    if wanted is not None:
        return wanted
    asked = threat.observe.images if threat.observe is not None else ()
    own = threat.aux.images if threat.aux is not None else ()
    return "decoder" if len(asked or own) >= LEAST else "mean"


def starting(
    start: Start, threat: ThreatModel, work: Workplace
) -> Callable[[Tensor], Tensor] | None:
    """z^ [n, *feature_shape] on the CPU -> images [n, 3, S, S] in [0, 1]; None for "mean".

    The other attack is fitted with its defaults, once for all that ask for it (`Workplace.fitted`).

    Raises:
        MissingKnowledge: the other attack needs what is not granted.
    """
    if start == "mean":
        return None
    kind = STARTS[start]
    known = work.grant or threat
    if known.observe is None and "head" not in kind.asks.get(known.name, {"head"}):
        # Its own row has queries and no head. Who has the head answers its queries itself.
        known = replace(known, name="")
    if work.grant is None:  # fitted without `run_attack`: there is nobody to share with
        work = replace(work, fits=Fits(), borrowed={})
    estimator = replace(work, grant=known).fitted(kind())

    def begin(features: Tensor) -> Tensor:
        ids = tuple(str(row) for row in range(len(features)))
        return torch.as_tensor(estimator(Features(ids, features.cpu())).values)

    return begin
