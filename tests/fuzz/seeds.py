"""Valid inputs of every target, to start from."""

from __future__ import annotations

import json

import torch
from documents import DOCUMENTS, RAW
from safetensors.torch import save

from splitlab.wire import Reply, Request, encode
from splitlab.wire.messages import DIGEST, stream_error

LARGE = torch.zeros(1, (1 << 18) - 64)
"""Not quite a mebibyte, so that its message is no longer than inputs may be."""
PLANS = [b"\x00", b"\x01\x01", bytes(range(4, 68)), b"\x01\x02\x05\x00\x01\x03" * 8]


def seeds(target: str) -> list[bytes]:
    """At least one each."""
    feature = torch.linspace(-3, 3, 2 * 144).reshape(2, 4, 6, 6)
    if target == "request":
        large = Request("tiny", "id", tuple(encode(LARGE, "FP32")), ("output_0",)).to_bytes()
        return [large, *seeds("handler")]
    if target in ("capture", "handler"):
        return [
            Request(
                *("tiny", "0" * 32 + "-0", tuple(encode(feature, kind)), ("output_0",)),
                parameters={DIGEST: "d" * 64},
            ).to_bytes()
            for kind in ("FP32", "FP16", "BF16", "INT8")
        ]
    if target in ("reply", "lane"):
        large = Reply("tiny", "id", tuple(encode(LARGE, "FP32", "output_0")))
        return [large.to_bytes(), large.to_bytes(streamed=True), *seeds("timings")]
    if target == "timings":
        told = {"splitlab_queue_us": 7, "splitlab_decode_us": 2.5, "splitlab_bodies_us": "abc"}
        tensors = tuple(encode(feature, "FP32", "output_0"))
        whole = Reply("tiny", "0" * 32 + "-0", tensors, told)
        few = Reply("tiny", "id", (), told).to_bytes()
        errors = [stream_error("no", "id", code) for code in ("", "RESOURCE_EXHAUSTED", "odd")]
        return [whole.to_bytes(), few, whole.to_bytes(streamed=True), *errors]
    if target == "flood":
        return [b"\x22\x00", b"\x2a\x00", b"\x32\x00", b"\x3a\x00", b"\x2a\x00\x3a\x00"]
    if target in ("tensors", "valid_tensors", "capture_shard"):
        return [bytes(range(64)), bytes(600), b"\x01\x02\x01\x00\x01\x03" * 40]
    if target == "weights":
        made = save({"a": feature, "b": torch.zeros(0), "c": torch.ones(3, dtype=torch.int64)})
        return [RAW + made, *PLANS]
    return [*(RAW + json.dumps(one).encode() for one in DOCUMENTS[target]()), *PLANS]
