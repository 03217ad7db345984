"""The accuracy of a classifier, and that its answers are numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from splitlab.data import ImageSet
from splitlab.errors import BadInput
from splitlab.training.device import choose_device


def accuracy(
    net: nn.Module,
    images: ImageSet,
    device: torch.device | str = "cpu",
    batch_size: int = 256,
) -> float:
    """Share of `images` whose largest logit is their label's, in %, in eval mode.

    The network is moved to `device` and left in the mode it came in.

    Raises:
        BadInput: no images, or answers that are no numbers.
    """
    if not len(images):
        raise BadInput("accuracy of no images; give at least one")
    device = choose_device(device)
    training = net.training
    net.to(device).eval()
    hits = 0
    with torch.inference_mode():
        for pixels, labels in zip(
            images.images.split(batch_size), images.labels.split(batch_size), strict=True
        ):
            logits = net(pixels.to(device).float().div_(255))
            require_numbers(logits)
            hits += int((logits.argmax(1).cpu() == labels).sum())
    net.train(training)
    return 100.0 * hits / len(images)


def require_numbers(logits: Tensor) -> None:
    """
    Args:
        logits: [B, classes].

    Raises:
        BadInput: some are NaN or infinite. Their argmax would be a class all the same, and finite
            weights can lead to them.
    """
    bad = int((~logits.isfinite()).flatten(1).any(1).sum())
    if bad:
        raise BadInput(
            f"the network answers {bad} of {len(logits)} images with NaN or infinite logits, "
            "though its weights are finite; they are too large or of another normalisation: give "
            "other weights, or train with a smaller learning rate"
        )
