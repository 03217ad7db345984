"""The wire: Open Inference Protocol v2, how tensors become bytes, and how channels are opened."""

from splitlab.wire.codec import (
    DATATYPES,
    MICRO_BATCH_BYTES,
    WireTensor,
    decode,
    encode,
    payload_bytes,
    reply_datatype,
    roundtrip,
)
from splitlab.wire.messages import Reply, Request

__all__ = [
    "DATATYPES",
    "MICRO_BATCH_BYTES",
    "Reply",
    "Request",
    "WireTensor",
    "decode",
    "encode",
    "payload_bytes",
    "reply_datatype",
    "roundtrip",
]
