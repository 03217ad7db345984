"""The kinds of estimate that there are. An attack's file may hold one more, of its own.

An image of a class and an attribute of a record are kinds too, once something estimates them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from splitlab.contracts.arch import InputSpec
from splitlab.contracts.kind import Kind
from splitlab.contracts.metric import Context
from splitlab.errors import BadInput


def true_images(items: Any, context: Context) -> Tensor:
    """An `ImageSet` -> float [N, 3, S, S] in [0, 1]."""
    del context
    images: Tensor = items.floats("cpu")
    return images


def wrong_images(values: Tensor, rows: int, given: InputSpec | None) -> str:
    """Wanted: [rows, 3, S, S] in [0, 1]."""
    wanted = (rows, *(given.shape if given else values.shape[1:]))
    if tuple(values.shape) != wanted:
        return f"answered {tuple(values.shape)}, wanted {wanted}"
    low, high = float(values.min()), float(values.max())
    if not (low >= 0.0 and high <= 1.0):
        return f"answered values in {low:g}..{high:g}; images lie in [0, 1]"
    return ""


IMAGE = Kind(
    name="image",
    truth=true_images,
    check=wrong_images,
    metrics=(
        "splitlab.metrics.image.mse:METRIC",
        "splitlab.metrics.image.psnr:METRIC",
        "splitlab.metrics.image.ssim:METRIC",
        "splitlab.metrics.image.perceptual:LPIPS_ALEX",
        "splitlab.metrics.image.perceptual:LPIPS_VGG",
        "splitlab.metrics.image.perceptual:LPIPS_SQUEEZE",
        "splitlab.metrics.image.reidentification:BY_PIXELS",
        "splitlab.metrics.image.reidentification:BY_FEATURES",
    ),
    floor="adversary.inversion.mean_image:mean_image",
    floor_is="the mean auxiliary image",
    floor_brief="mean image",
    view="bench.report.grids:save_grid",
    view_is="Upper row: the victims' images. "
    "Lower row: what the adversary recovered from the wire.",
)


def true_members(items: Any, context: Context) -> Tensor:
    """Which of the records the network has learned from: `context["member"]`, bool [N].

    Raises:
        BadInput: the context says it of another number of records.
    """
    members: Tensor | None = context.get("member")
    if members is None or members.shape != (len(items),):
        raise BadInput(
            f"{len(items)} records and {'no' if members is None else tuple(members.shape)} words "
            "on who is a member; give one for each"
        )
    return members.bool()


def wrong_membership(values: Tensor, rows: int, given: InputSpec | None) -> str:
    """Wanted: float [rows], larger for members; any scale."""
    del given
    if tuple(values.shape) != (rows,) or not values.is_floating_point():
        return f"answered {values.dtype} {tuple(values.shape)}, wanted float ({rows},)"
    return "" if values.isfinite().all() else "answered scores that are NaN or infinite"


MEMBERSHIP = Kind(
    name="membership",
    truth=true_members,
    check=wrong_membership,
    metrics=(
        "splitlab.metrics.membership:AUC",
        "splitlab.metrics.membership:TPR_AT_1",
        "splitlab.metrics.membership:TPR_AT_TENTH",
    ),
    floor="splitlab.metrics.membership:one_score",
    floor_is="one score for all",
    view="bench.report.roc:save_roc",
    view_is="Share of the members found, against the share of the others taken for members, at "
    "every threshold. The diagonal is chance.",
    suffix=".svg",
    sight="bench.point.sights.members:MembersAndOthers",
    needs=("member",),
)


def true_tokens(items: Any, context: Context) -> Tensor:
    """Sentences -> int64 [N, T], their source."""
    del context
    source: Tensor = items.source
    return source


def wrong_tokens(values: Tensor, rows: int, given: InputSpec | None) -> str:
    """Wanted: int64 [rows, T], numbers of words."""
    del given
    if values.ndim != 2 or len(values) != rows or values.dtype != torch.int64:
        return f"answered {values.dtype} {tuple(values.shape)}, wanted int64 ({rows}, T)"
    return "answered words below 0" if values.numel() and int(values.min()) < 0 else ""


TOKENS = Kind(
    name="tokens",
    truth=true_tokens,
    check=wrong_tokens,
    metrics=(
        "splitlab.metrics.words:WORDS_READ",
        "splitlab.metrics.words:RARER_WORDS_READ",
        "splitlab.metrics.words:SENTENCES_READ",
    ),
    floor="adversary.inversion.text.words:likeliest",
    floor_is="the most frequent token of each position",
    view="bench.report.sentences:save_sentences",
    view_is="Sentences, and below each what was read of it; wrong words are red.",
    suffix=".svg",
    sight="bench.point.sights.translated:Translated",
)


def true_latents(items: Any, context: Context) -> Tensor:
    """Latents float [N, D] are their own truth."""
    del context
    latents: Tensor = items
    return latents


def wrong_latents(values: Tensor, rows: int, given: InputSpec | None) -> str:
    """Wanted: float [rows, D]."""
    del given
    if values.ndim != 2 or len(values) != rows or not values.is_floating_point():
        return f"answered {values.dtype} {tuple(values.shape)}, wanted float ({rows}, D)"
    return "" if values.isfinite().all() else "answered latents that are NaN or infinite"


LATENT = Kind(
    name="latent",
    truth=true_latents,
    check=wrong_latents,
    metrics=(
        "splitlab.metrics.latent:ERROR",
        "splitlab.metrics.latent:NORMALITY",
        "splitlab.metrics.latent:SECOND_PSNR",
        "splitlab.metrics.latent:SECOND_SSIM",
    ),
    floor="splitlab.metrics.latent:zero",
    floor_is="the latent 0",
    view="bench.report.grids:save_grid",
    sight="bench.point.sights.generated:Generated",
)

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (IMAGE, MEMBERSHIP, TOKENS, LATENT)}
