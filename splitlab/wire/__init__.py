"""The wire: Open Inference Protocol v2, how tensors become bytes, and how channels are opened."""

from splitlab.wire.codec import (
    DATATYPES,
    WireTensor,
    decode,
    encode,
    micro_batch_rows,
    payload_bytes,
    reply_datatype,
    roundtrip,
)
from splitlab.wire.messages import Reply, Request

__all__ = [
    "DATATYPES",
    "Reply",
    "Request",
    "WireTensor",
    "decode",
    "encode",
    "micro_batch_rows",
    "payload_bytes",
    "reply_datatype",
    "roundtrip",
]
