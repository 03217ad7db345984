"""Is a server half fit to serve? Asked without opening a port."""

from __future__ import annotations

from typing import Any

import torch

from cloud_server.engines.engine import Engine
from cloud_server.half import ServedHalf
from cloud_server.handler import largest_request
from splitlab.errors import Corrupt
from splitlab.wire import micro_batch_rows


def checked(
    half: ServedHalf, engine: str, device: str, bfloat16: bool = False, threads: int | None = None
) -> dict[str, Any]:
    """Run one row through every body; what is served, as JSON.

    Raises:
        Corrupt: an output of another shape than declared, or one that is not finite.
        BadInput: an engine that is none or cannot run these bodies, or CUDA asked for where there
            is none.
    """
    running = Engine(
        list(half.bodies),
        half.feature.shape,
        name=engine,
        rows=micro_batch_rows(half.feature.shape, half.wire, half.max_rows),
        threads=threads,
        device=device,
        bfloat16=bfloat16,
    )
    try:
        answer = running.run(torch.zeros(1, *half.feature.shape))
    finally:
        running.close()
    assert answer is not None
    for body, output, declared in zip(half.body_ids, answer.outputs, half.outputs, strict=True):
        if tuple(output.shape[1:]) != tuple(declared):
            raise Corrupt(
                f"body {body}",
                f"it answers {list(output.shape[1:])}, {list(declared)} is declared",
                "make the deployment again",
            )
        if not torch.isfinite(output).all():
            raise Corrupt(
                f"body {body}",
                "it answers zeros with numbers that are not finite",
                "train it again and write the deployment anew",
            )
    return {
        "model": half.model_name,
        "digest": half.digest,
        "bodies": half.body_ids,
        "feature": list(half.feature.shape),
        "wire": half.wire,
        "max_rows": half.max_rows,
        "largest_request_bytes": largest_request(half),
        **running.chosen.as_facts(),
    }
