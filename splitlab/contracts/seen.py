"""What an attack is shown, each with the ids by which truth is joined to its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

from torch import Tensor

from splitlab.errors import Mismatch

Answers = Literal["logits", "probabilities", "label"]


@dataclass(frozen=True, eq=False)
class Features:
    """Captured features.

    Args:
        ids: "<request id>/<row>" of each feature.
        features: z^ [n, *feature_shape], decoded from the wire.
        outputs: each body's replies [n, *output_shape], where they were captured.

    Raises:
        Mismatch: another number of ids or replies than of features, or none at all.
    """

    ids: tuple[str, ...]
    features: Tensor
    outputs: tuple[Tensor, ...] = ()

    def __post_init__(self) -> None:
        _require_rows("features", self.ids, self.features)
        for replies in self.outputs:
            _require_rows("replies", self.ids, replies)


@dataclass(frozen=True, eq=False)
class Scores:
    """What a network answered to single records.

    Args:
        ids: of each record.
        scores: float [n, classes], or int64 [n] where only the label is told.
        answers: with what the network answers.
        labels: int64 [n], the true class of each record, where that is known.

    Raises:
        Mismatch: another number of ids than of rows, none, or a form that is not the answers'.
    """

    ids: tuple[str, ...]
    scores: Tensor
    answers: Answers = "logits"
    labels: Tensor | None = None

    @classmethod
    def of(
        cls, ids: tuple[str, ...], logits: Tensor, answers: Answers, labels: Tensor | None = None
    ) -> Self:
        """What a network with these logits [n, classes] answers."""
        return cls(ids, answered(logits, answers), answers, labels)

    def __post_init__(self) -> None:
        _require_rows("scores", self.ids, self.scores)
        wanted = 1 if self.answers == "label" else 2
        if self.scores.ndim != wanted:
            raise Mismatch(
                f"scores of shape {tuple(self.scores.shape)} are no {self.answers}; wanted "
                + ("[n]" if wanted == 1 else "[n, classes]")
            )
        if self.labels is not None:
            _require_rows("labels", self.ids, self.labels)


@dataclass(frozen=True, eq=False)
class Gradients:
    """What a server of split or federated training is sent for one batch.

    Args:
        ids: of each record in the batch.
        gradients: name of a parameter -> its gradient, averaged over the batch.
        labels: int64 [n], the true class of each record, where that is known.

    Raises:
        Mismatch: no id, or no gradient.
    """

    ids: tuple[str, ...]
    gradients: Mapping[str, Tensor]
    labels: Tensor | None = None

    def __post_init__(self) -> None:
        if not self.ids or not self.gradients:
            raise Mismatch(
                f"{len(self.ids)} ids and {len(self.gradients)} gradients; wanted one or more"
            )


@dataclass(frozen=True, eq=False)
class Targets:
    """Classes to be inverted; beside them nothing is seen but what is granted.

    Args:
        ids: of each image that is wanted.
        classes: int64 [n], of which class.

    Raises:
        Mismatch: another number of ids than of classes, or none.
    """

    ids: tuple[str, ...]
    classes: Tensor

    def __post_init__(self) -> None:
        _require_rows("classes", self.ids, self.classes)


Seen = Features | Scores | Gradients | Targets


def answered(logits: Tensor, answers: Answers) -> Tensor:
    """Logits [n, classes] -> themselves, probabilities [n, classes] or labels int64 [n]."""
    if answers == "label":
        return logits.argmax(1)
    return logits.softmax(1) if answers == "probabilities" else logits


def _require_rows(what: str, ids: tuple[str, ...], rows: Tensor) -> None:
    if len(ids) != len(rows) or not ids:
        raise Mismatch(
            f"{len(ids)} ids and {len(rows)} {what}; wanted one id a row and at least one row"
        )
