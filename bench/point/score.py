"""Where truth meets estimates: joined by request id, scored, beside a floor."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from splitlab.contracts import Kind, Metric
from splitlab.contracts.kinds import IMAGE
from splitlab.errors import Corrupt, Mismatch
from splitlab.metrics import Column, evaluate
from splitlab.record import Leakage


@dataclass(frozen=True)
class Scored:
    """Leakage of an attack and of its kind's floor, on the same items.

    Args:
        truth: [n, ...], of the kind.
        index, groups: int64 [n], row among the items, and which of them belong together.
        metrics: of the kind, in order.
        values, floor_values: metric -> float [n], of those that have a value for each item.
    """

    leakage: dict[str, Leakage]
    floor: dict[str, Leakage]
    truth: Tensor
    items: int
    index: Tensor
    groups: Tensor
    metrics: tuple[Metric, ...]
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
    estimates: Tensor,
    join: Mapping[str, int],
    items: Any,
    floor: Tensor,
    context: Mapping[str, Any],
    seed: int,
    kind: Kind = IMAGE,
    groups: Tensor | None = None,
) -> Scored:
    """Join by id and measure.

    Args:
        ids: of each estimate, as captured.
        estimates: [n, ...] of the kind, in the order of `ids`.
        join: id -> index of the item; the client's.
        items: what is true; what the kind makes its truth of.
        floor: the floor's answer, one for all or one for each.
        context: for the metrics (`embed`, `lpips_weights`); gallery and truth are added.
        seed: of the bootstrap.
        groups: int64 [N], which items belong together; None where they say it themselves.

    Raises:
        Mismatch: an id that the client never sent.
    """
    index = index_of(ids, join)
    gallery = kind.truth(items, context)
    return scored(
        kind,
        gallery[index],
        estimates.cpu(),
        floor,
        (items.groups if groups is None else groups)[index],
        {**context, "gallery": gallery, "truth_index": index},
        seed,
        index,
    )


def index_of(ids: Sequence[str], join: Mapping[str, int]) -> Tensor:
    """int64 [n], the item of each id.

    Raises:
        Mismatch: an id that the client never sent.
    """
    unknown = [key for key in ids if key not in join]
    if unknown:
        raise Mismatch(
            f"{len(unknown)} captured ids are not in the client's join table (first: "
            f"{unknown[0]}); capture and evaluation are of different runs"
        )
    return torch.tensor([join[key] for key in ids])


def scored(
    kind: Kind,
    truth: Tensor,
    estimates: Tensor,
    floor: Tensor,
    groups: Tensor,
    context: Mapping[str, Any],
    seed: int = 0,
    index: Tensor | None = None,
) -> Scored:
    """The kind's metrics of the estimates and of the floor, each with its interval.

    Args:
        truth, estimates: [n, ...], row by row.
        index: int64 [n], row of each among all items; None where these are all.
    """
    metrics = kind.load_metrics()
    answer = floor.expand_as(estimates).contiguous()
    own = evaluate(metrics, truth, estimates, context)
    base = evaluate(metrics, truth, answer, context)
    return Scored(
        leakage=_intervals(own, groups, seed),
        floor=_intervals(base, groups, seed),
        truth=truth,
        items=len(truth),
        index=torch.arange(len(truth)) if index is None else index,
        groups=groups,
        metrics=metrics,
        values={k: c.values for k, c in own.items() if c.values is not None},
        floor_values={k: c.values for k, c in base.items() if c.values is not None},
    )


def _intervals(columns: Mapping[str, Column], groups: Tensor, seed: int) -> dict[str, Leakage]:
    found = {}
    for name, column in columns.items():
        unit, direction = column.metric.unit, column.metric.leakage
        if column.number is None:
            found[name] = Leakage(unit=unit, leakage=direction, mean=None, why=column.why)
            continue
        value = column.interval(groups, seed)
        found[name] = Leakage(
            unit=unit,
            leakage=direction,
            mean=value.mean,
            low=value.low,
            high=value.high,
            items=len(groups),
            groups=len(groups.unique()),
        )
    return found
