"""The objective of every classifier that is trained here: cross entropy and a defence's terms."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def objective(
    logits: Tensor, labels: Tensor, smoothing: float = 0.0, *terms: Tensor | None
) -> Tensor:
    """Cross entropy, mean over the batch, plus `terms`; a scalar.

    The target of an image is (1 - smoothing) of its label and smoothing / classes of every class
    (Szegedy et al. 2016). Below 0 (Struppek et al. 2024, "Be Careful What You Smooth For") the
    label's share is above 1, and that of every other class below 0.

    Args:
        logits: [B, classes].
        labels: int64 [B], or shares of each class [B, classes], as mixed images have.
        smoothing: below 1, of either sign.
        terms: scalars that defences add; None adds nothing.
    """
    if smoothing >= 0:
        loss = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    else:  # PyTorch takes none below 0
        uniform = -F.log_softmax(logits, 1).mean()
        loss = (1 - smoothing) * F.cross_entropy(logits, labels) + smoothing * uniform
    for term in terms:
        if term is not None:
            loss = loss + term
    return loss
