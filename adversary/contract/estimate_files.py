"""From a capture and a grant to an observation, and from an outcome to files.

`OUT/estimate.json` says what was run, on which ids, with which doubts and at what cost;
`OUT/reconstructions.safetensors` holds one answer under each id, of images a float32 [3, S, S] in
[0, 1]; `OUT/reconstructions.png` shows the first images. Without the client's join table nobody can
say which victim an id is.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from adversary.contract.attack import Attack, Outcome
from adversary.contract.grant import read_grant
from adversary.contract.threat import ThreatModel
from splitlab.capture import Capture
from splitlab.contracts import Features
from splitlab.entry_points import ATTACK_GROUP, entries
from splitlab.storage import write_bytes, write_json, write_tensors

SHOWN = 64


def attacked(capture: Path, grant: Path, limit: int | None = None) -> tuple[ThreatModel, Features]:
    """What the adversary knows, the capture included, and what it attacks.

    Raises:
        Corrupt: capture or grant is half-written or damaged.
        BadInput: a capture without features.
    """
    threat = read_grant(grant)
    seen = Capture.open(capture).seen()
    outputs = tuple(replies[:limit] for replies in seen.outputs)
    observation = Features(seen.ids[:limit], seen.features[:limit], outputs)
    return replace(threat, capture=seen.features), observation


def write_estimate(
    out: Path,
    attack: Attack,
    threat: ThreatModel,
    outcome: Outcome,
    seed: int,
    taken: Sequence[str] | None = None,
) -> None:
    """Write the three files; `estimate.json` comes last.

    Args:
        taken: what had been learned before, where that is kept.
    """
    estimate = outcome.estimate
    values = dict(zip(outcome.ids, estimate.values, strict=True))
    write_tensors(out / "reconstructions.safetensors", values)
    if estimate.values.ndim == 4:
        write_bytes(out / "reconstructions.png", grid(estimate.values[:SHOWN]))
    content = {
        "format": "splitlab/estimate/1",
        "attack": attack.name,
        "source": attack.source,
        "estimates": attack.estimates.name,
        "settings": attack.model_dump(mode="json"),
        "seed": seed,
        "granted": list(threat.granted()),
        "images": _own_images(threat),
        "ids": list(outcome.ids),
        "doubts": list(estimate.doubts),
        "effort": dict(outcome.effort),
        "extra": estimate.extra,
    }
    for entry in entries(ATTACK_GROUP).get(attack.name, ()):  # nobody's name but its own
        content["package"] = entry.origin
    if taken is not None:
        content["taken"] = list(taken)
    write_json(out / "estimate.json", content)


def _own_images(threat: ThreatModel) -> dict[str, Any] | None:
    """How many images the adversary had and what they are; as in a record, `synthetic` says whose
    batch norms they were made of.
    """
    if (own := threat.aux) is None:
        return None
    counts = {"kind": own.kind, "auxiliary": len(own.images), "validation": len(own.validation)}
    return {**counts, "synthetic": own.layers} if own.kind == "synthetic" else counts


def grid(images: Tensor) -> bytes:
    """Images [n, 3, S, S] in [0, 1], n > 0, as one PNG, row by row, a pixel of white between."""
    count, _, side, _ = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    canvas = torch.ones(3, rows * (side + 1) - 1, columns * (side + 1) - 1)
    for index, image in enumerate(images):
        top, left = (index // columns) * (side + 1), (index % columns) * (side + 1)
        canvas[:, top : top + side, left : left + side] = image
    pixels = canvas.mul(255).round().byte().permute(1, 2, 0).contiguous().numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()
