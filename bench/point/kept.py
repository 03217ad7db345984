"""Reconstructions as they were scored: float32 tensors beside the picture of each record.

`images/<record>.safetensors` holds, for n scored victims of which k are kept as images:

| tensor | type | what |
|---|---|---|
| `truth`, `estimate` | float32 [k, 3, S, S] | in [0, 1], the first k of the n |
| `floor` | float32 [3, S, S] | the mean auxiliary image, the floor's answer to every victim |
| `victim`, `group` | int64 [n] | row among the victims; those of one group depend on each other |
| `mse`, `psnr`, `ssim` | float32 [n] | of each estimate; the record's figure is their mean |
| `floor_mse`, `floor_psnr`, `floor_ssim` | float32 [n] | the same of `floor` |

Truth and estimates of another kind than images have that kind's form, and the numbers are those of
its metrics that need nothing but a truth and its estimate.

The header holds `format`, `record` (its hash) and `ids`, a JSON list of n ids on the wire.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from bench.point.score import Scored
from splitlab.contracts import Metric
from splitlab.record import KeptImages, Record
from splitlab.storage import write_tensors

FORMAT = "splitlab/reconstructions/1"
BUDGET = 32 * 2**20
"""Bytes of truth and estimates a record by default: 1365 images of 32 pixels, 27 of 224."""
FEWEST = 8
"""As many as the picture shows."""


def kept_by_default(numbers: int) -> int:
    """How many victims, each of so many numbers, a record keeps in full where nobody says."""
    return max(FEWEST, BUDGET // (2 * 4 * max(1, numbers)))


def kept_told(records: Sequence[Record]) -> str:
    """What a page says of the pictures and of the tensors behind them."""
    text = (
        "Pictures are of eight bits a colour and for looking. What was scored is float32: each "
        "record's file under images/ holds truth and reconstruction, from which docs/recompute.py "
        "computes MSE, PSNR and SSIM again. "
    )
    amounts = sorted({(r.kept.of, r.kept.victims) for r in records if r.kept})
    without = sum(r.kept is None for r in records)
    if not amounts:
        return "Pictures are of eight bits a colour; no tensors are kept of these records."
    told = [f"{'all' if kept == of else kept} of {of} scored victims" for of, kept in amounts]
    text += f"Kept as images: {', '.join(told)}; numbers of all."
    return text + (f" {without} older records have pictures alone." if without else "")


def keep(
    folder: Path,
    point: str,
    ids: Sequence[str],
    estimate: Tensor,
    floor: Tensor,
    scores: Scored,
    limit: int,
) -> KeptImages:
    """Write what one record was scored on, atomically.

    Args:
        folder: `images` of the run.
        point: the record's hash.
        ids: of each estimate, as captured; n.
        estimate: [n, ...] of the kind; images are float [n, 3, S, S] in [0, 1].
        floor: the floor's answer; of images float [3, S, S], the mean image.
        limit: at most so many victims are kept as images; numbers are kept of all.
    """
    count = min(limit, len(ids))
    tensors = {
        "truth": _stored(scores.truth[:count]),
        "estimate": _stored(estimate[:count]),
        "floor": _stored(floor),
        "victim": scores.index,
        "group": scores.groups,
        **_columns("", scores.metrics, scores.values),
        **_columns("floor_", scores.metrics, scores.floor_values),
    }
    facts = {"format": FORMAT, "record": point, "ids": json.dumps(list(ids))}
    name = f"{point}.safetensors"
    write_tensors(folder / name, tensors, facts)
    return KeptImages(file=name, victims=count, of=len(ids))


def _stored(values: Tensor) -> Tensor:
    """Numbers as float32; whole numbers and truth values as they are."""
    return values.float() if values.is_floating_point() else values


def _columns(
    prefix: str, metrics: Sequence[Metric], values: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Of the metrics that anyone can compute again from truth and estimate alone."""
    own = [metric.name for metric in metrics if not metric.needs and metric.name in values]
    return {f"{prefix}{name}": values[name].float() for name in own}
