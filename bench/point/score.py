"""Where true images meet reconstructions: joined by request id, scored, beside a floor."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from splitlab.data import ImageSet
from splitlab.errors import Corrupt, Mismatch
from splitlab.metrics import Column, evaluate, mean_interval
from splitlab.record import Leakage

METRICS = (
    "mse",
    "psnr",
    "ssim",
    "lpips_alex",
    "lpips_vgg",
    "lpips_squeeze",
    "reidentified_by_pixels",
    "reidentified_by_features",
)


@dataclass(frozen=True)
class Scores:
    """Leakage of the attack and of the mean image, on the same victims.

    Args:
        truth: float [n, 3, S, S] in [0, 1].
        index, groups: int64 [n], row among the victims, and which of them belong together.
        values, floor_values: metric -> float32 [n], where it could be computed.
    """

    leakage: dict[str, Leakage]
    floor: dict[str, Leakage]
    truth: Tensor
    items: int
    index: Tensor
    groups: Tensor
    values: dict[str, Tensor]
    floor_values: dict[str, Tensor]


def read_join(path: Path) -> dict[str, int]:
    """The client's table: id of each row on the wire -> index of the victim.

    Raises:
        Corrupt: absent or damaged.
    """
    try:
        table = json.loads(path.read_text())["rows"]
        return {str(key): int(value) for key, value in table.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Corrupt(path, "not a join table", "run edge-client evaluate again") from error


def score(
    ids: Sequence[str],
    reconstructions: Tensor,
    join: dict[str, int],
    victims: ImageSet,
    mean_image: Tensor,
    context: dict[str, Any],
    seed: int,
) -> Scores:
    """Join by id and measure.

    Args:
        ids: of each reconstruction, as captured.
        reconstructions: float [n, 3, S, S] in [0, 1], in the order of `ids`.
        join: id -> index of the victim; the client's.
        victims: the true images.
        mean_image: float [3, S, S], the floor's constant answer.
        context: for the metrics over sets (`embed`, `lpips_weights`); gallery and truth are added.
        seed: of the bootstrap.

    Raises:
        Mismatch: an id that the client never sent.
    """
    unknown = [key for key in ids if key not in join]
    if unknown:
        raise Mismatch(
            f"{len(unknown)} captured ids are not in the client's join table (first: "
            f"{unknown[0]}); capture and evaluation are of different runs"
        )
    index = torch.tensor([join[key] for key in ids])
    gallery = victims.floats("cpu")
    truth = gallery[index]
    context = {**context, "gallery": gallery, "truth_index": index}
    groups = victims.groups[index]
    constant = mean_image.expand_as(truth).contiguous()
    own = evaluate(METRICS, truth, reconstructions.cpu(), context)
    base = evaluate(METRICS, truth, constant, context)
    return Scores(
        leakage=_intervals(own, groups, seed),
        floor=_intervals(base, groups, seed),
        truth=truth,
        items=len(index),
        index=index,
        groups=groups,
        values={k: c.values for k, c in own.items() if c.values is not None},
        floor_values={k: c.values for k, c in base.items() if c.values is not None},
    )


def _intervals(columns: Mapping[str, Column], groups: Tensor, seed: int) -> dict[str, Leakage]:
    found = {}
    for name, column in columns.items():
        base = {"unit": column.metric.unit, "leakage": column.metric.leakage}
        if column.values is None:
            found[name] = Leakage(**base, mean=None, why=column.why)
            continue
        value = mean_interval(column.values, groups, seed=seed)
        found[name] = Leakage(
            **base,
            mean=value.mean,
            low=value.low,
            high=value.high,
            items=len(groups),
            groups=len(groups.unique()),
        )
    return found
