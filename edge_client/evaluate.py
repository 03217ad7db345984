"""Send a data set through the wire, shuffled, and account for it: utility, rate, latency.

`OUT/evaluation.json` is the account; `join.json` maps "<request id>/<row>" to the image's index
and, like `logits.safetensors` (logits [n, classes] in the images' own order, first repeat), never
leaves the client's side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edge_client.client import EdgeClient, InferResult
from edge_client.ledger import by_stage
from edge_client.stages import TOTAL
from splitlab.data import ImageSet
from splitlab.errors import BadInput
from splitlab.randomness import Secret
from splitlab.storage import write_json, write_tensors
from splitlab.wire.request_ids import new_request_id


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` gives.

    Args:
        account: accuracy in %, rate in bytes per image, latency in ms, counts; JSON.
        join: "<request id>/<row>" -> index of the image.
        logits: [n, classes], in the order of the images, of the first repeat.
    """

    account: dict[str, Any]
    join: dict[str, int] = field(repr=False)
    logits: Tensor = field(repr=False)


def evaluate(
    client: EdgeClient,
    images: ImageSet,
    *,
    batch: int,
    repeat: int = 1,
    secret_seed: int | None = None,
    advance: Callable[[int], object] | None = None,
) -> Evaluation:
    """Classify every image `repeat` times, in an order that only the client knows.

    Args:
        client: connected to its servers.
        images: what is sent; labels give the accuracy.
        batch: images of one request.
        repeat: how often each image is sent; each time in a new order and under new ids, so that
            fresh noise is fresh.
        secret_seed: draws order and ids, for reproduction only; default the operating system's
            randomness.
        advance: told how many images were done.

    Raises:
        BadInput: no images.
    """
    if not len(images):
        raise BadInput("there are no images to send; give another --partition or --limit")
    secret = Secret.new(secret_seed)
    found: list[Tensor] = []
    join: dict[str, int] = {}
    results: list[InferResult] = []
    for turn in range(repeat):
        order = secret.permutation(len(images), "order", turn)
        answers: list[Tensor] = []
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            pixels = images.images[chosen].float() / 255
            request_id = new_request_id(secret, "evaluate", turn, start)
            result = client.infer(pixels, request_id=request_id)
            join |= {f"{request_id}/{row}": int(index) for row, index in enumerate(chosen)}
            answers.append(result.logits)
            results.append(result)
            if advance is not None:
                advance(len(chosen))
        logits = torch.empty_like(torch.cat(answers))
        logits[order] = torch.cat(answers)
        found.append(logits)
    account = _account(results, found, images, batch)
    account["servers"] = _servers(client.servers, results)
    return Evaluation(account, join, found[0])


def write_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Write the three files; `evaluation.json` comes last, so it stands for all of them.

    Raises:
        StorageFull: no space left; what stood there before is untouched.
    """
    write_json(folder / "join.json", {"rows": evaluation.join}, private=True)
    write_tensors(folder / "logits.safetensors", {"logits": evaluation.logits})
    write_json(folder / "evaluation.json", evaluation.account)


def _account(
    results: list[InferResult], logits: list[Tensor], images: ImageSet, batch: int
) -> dict[str, Any]:
    sent = len(images) * len(logits)
    right = sum(int((answer.argmax(1) == images.labels).sum()) for answer in logits)
    requests = [{**result.stages, TOTAL: result.seconds * 1000} for result in results]
    bytes_of = {
        "payload_up": sum(result.payload_up for result in results),
        "payload_down": sum(result.payload_down for result in results),
        "framed_up": sum(result.bytes_up for result in results),
        "framed_down": sum(result.bytes_down for result in results),
    }
    return {
        "images": len(images),
        "repeats": len(logits),
        "batch": batch,
        "data": images.name,
        "data_hash": images.hash,
        "accuracy": 100.0 * right / sent,
        "rate": {name: total / sent for name, total in bytes_of.items()},
        "latency": by_stage(requests),
        "requests": len(results),
        "messages": sum(result.messages for result in results),
        "retries": sum(result.retries for result in results),
        "bytes_resent": sum(result.bytes_resent for result in results),
        "images_per_second": sent / sum(result.seconds for result in results),
    }


def _servers(held: dict[str, list[int]], results: list[InferResult]) -> list[dict[str, Any]]:
    """Of each server, in the order in which they were named: its bodies and its attempts."""
    return [
        {
            "bodies": bodies,
            "answered": sum(result.answered.get(address, 0) for result in results),
            "failed": sum(result.failed.get(address, 0) for result in results),
        }
        for address, bodies in held.items()
    ]
