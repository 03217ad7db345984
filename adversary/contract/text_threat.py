"""What the adversary of a text model is granted, and what it takes out of a capture."""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from splitlab.capture import Capture
from splitlab.errors import BadInput, MissingKnowledge
from splitlab.models.seq2seq import Seq2SeqSpec
from splitlab.storage import hash_tensors


@dataclass(frozen=True, eq=False)
class Sentences:
    """Sentence pairs as tokens: words, <eos>, <pad>...

    Args:
        source: int64 [N, source_length].
        target: int64 [N, target_length].
    """

    source: Tensor
    target: Tensor

    def __post_init__(self) -> None:
        if len(self.source) != len(self.target) or not len(self.source):
            raise BadInput(
                f"{len(self.source)} source and {len(self.target)} target sentences; "
                "wanted as many of each, and at least one"
            )


@dataclass(frozen=True, eq=False)
class TextThreat:
    """Granted knowledge; None is "not granted". There is no field for the client's embeddings.

    Args:
        spec: sizes of the whole network; positions follow from them.
        body: the server's network, a frozen deep copy in eval mode.
        auxiliary: the adversary's own sentences, disjoint from the victims'.
        observe: chosen sentences and their features z^ [n, T, width]; only the ceiling has it.
    """

    spec: Seq2SeqSpec | None = None
    body: nn.Module | None = None
    auxiliary: Sentences | None = None
    observe: tuple[Tensor, Tensor] | None = None

    def __post_init__(self) -> None:
        if self.body is not None:
            own = copy.deepcopy(self.body).to("cpu").eval().requires_grad_(False)
            object.__setattr__(self, "body", own)

    def need(self, field: str, who: str = "the attack") -> Any:
        """The granted value of `field`.

        Raises:
            MissingKnowledge: it was not granted.
        """
        value = getattr(self, field)
        if value is None:
            raise MissingKnowledge(field, who)
        return value

    @property
    def granted(self) -> list[str]:
        """Names of the fields that are granted."""
        return [f.name for f in fields(self) if getattr(self, f.name) is not None]

    def fingerprint(self) -> str:
        """Hash of the granted body; the same before and after an attack."""
        return hash_tensors(self.body.state_dict()) if self.body is not None else ""


def last_features(capture: Capture) -> tuple[list[str], Tensor]:
    """What was sent last under each id: the source, and all of the target that was ever sent.

    A translation sends one message for every word; later ones carry a longer target.

    Returns:
        ids "request id/row", and their features z^ [n, T, width].
    """
    ids, features = capture.features()
    latest: dict[str, int] = {}
    for place, name in enumerate(ids):
        request, _, row = name.rpartition("/")
        latest[f"{request.partition('#')[0]}/{row}"] = place
    return list(latest), features[torch.tensor(list(latest.values()))]
