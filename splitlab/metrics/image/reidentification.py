"""Re-identification: is the true image the nearest of all victims to its reconstruction?

In pixels, and in the features of a network that is independent of the victim's (another
architecture or other weights), so that a reconstruction that fools only the victim scores nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from splitlab.contracts.metric import Context, Metric
from splitlab.contracts.quantity import Digits
from splitlab.errors import BadInput, Unavailable
from splitlab.pieces import in_pieces

ROWS = 256
"""Estimates compared with the whole gallery at once."""


def reidentified(estimates: Tensor, gallery: Tensor, truth_index: Tensor) -> Tensor:
    """Whether the nearest row of the gallery (Euclidean) is each estimate's own.

    Equal distances share the hit: an estimate as near to k images as to its own scores 100 / k, so
    a constant answer gets no more than chance.

    Args:
        estimates: float [B, D].
        gallery: float [N, D], every victim, the true ones among them.
        truth_index: int64 [B], row of the gallery that is each estimate's truth.

    Returns:
        float32 [B] in percent, 0 to 100. Chance is 100 / N.

    Raises:
        BadInput: shapes that do not fit, an index outside the gallery.
    """
    if estimates.shape[1:] != gallery.shape[1:] or truth_index.shape != estimates.shape[:1]:
        raise BadInput(
            f"estimates {tuple(estimates.shape)}, gallery {tuple(gallery.shape)} and true indices "
            f"{tuple(truth_index.shape)} do not fit; wanted [B, D], [N, D] and [B]"
        )
    inside = (truth_index >= 0) & (truth_index < len(gallery))
    if not inside.all():
        raise BadInput(f"true index {int(truth_index[~inside][0])} is outside 0..{len(gallery)}")
    rows, places = estimates.double(), gallery.double()
    hits = []
    for piece, own in zip(rows.split(ROWS), truth_index.split(ROWS), strict=True):
        exact = "donot_use_mm_for_euclid_dist"  # the fast way cancels and loses ties
        distance = torch.cdist(piece, places, compute_mode=exact)
        nearest = distance <= distance.min(1, keepdim=True).values * (1 + 1e-9)
        hits.append(nearest.gather(1, own[:, None]).squeeze(1) / nearest.sum(1))
    return 100.0 * torch.cat(hits).float()  # of no estimates there is one empty piece


def _by_pixels(truths: Tensor, estimates: Tensor, context: Context) -> Tensor:
    gallery, index = _gallery(truths, context)
    return reidentified(estimates.clamp(0, 1).flatten(1), gallery.flatten(1), index)


def _by_features(truths: Tensor, estimates: Tensor, context: Context) -> Tensor:
    embed: Callable[[Tensor], Tensor] | None = context.get("embed")
    if embed is None:
        default = "no independent network was given to compare features in"
        raise Unavailable(str(context.get("no_embed") or default))
    gallery, index = _gallery(truths, context)
    with torch.no_grad():
        own = in_pieces(lambda part: embed(part).flatten(1), estimates.clamp(0, 1), ROWS)
        places = in_pieces(lambda part: embed(part).flatten(1), gallery, ROWS)
    return reidentified(own, places, index)


def _gallery(truths: Tensor, context: Context) -> tuple[Tensor, Tensor]:
    """`context["gallery"]` [N, 3, H, W] and `context["truth_index"]` [B]; else the truths alone."""
    gallery: Tensor = context.get("gallery", truths)
    index: Tensor | None = context.get("truth_index")
    if index is None:
        if "gallery" in context:
            raise BadInput("a gallery needs `truth_index`, the row of each true image in it")
        index = torch.arange(len(truths))
    return gallery.to(truths), index.to(truths.device)


BY_PIXELS = Metric(
    "reidentified_by_pixels",
    "%",
    "rises",
    title="re-id, pixels",
    digits=Digits(table=0, brief=0),
    bounds=(0.0, 100.0),
    per_item=_by_pixels,
    needs=("gallery", "truth_index"),
)
BY_FEATURES = Metric(
    "reidentified_by_features",
    "%",
    "rises",
    title="re-id, features",
    digits=Digits(table=0, brief=0),
    bounds=(0.0, 100.0),
    per_item=_by_features,
    needs=("gallery", "truth_index", "embed"),
)
