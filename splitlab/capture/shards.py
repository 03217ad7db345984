"""The capture's format: `capture.json` and safetensors shards of frames, in arrival order.

`capture.json`: `format`, `vantage`, and `sessions`, one for each time that the tap was started:
`first_shard`, `started_ns`, and once it was stopped in order `closed`, `shards`, `frames`,
`dropped`. A tap that was killed leaves `closed` false; every shard it wrote is whole.

`shard-000000.safetensors` and on, n frames each:

| tensor | type | meaning |
|---|---|---|
| `payload` | uint8 [total] | the frames' bytes, one after another |
| `length` | int64 [n] | bytes of each frame in `payload` (0 where only sizes are kept) |
| `size` | int64 [n] | bytes of each frame as it travelled |
| `arrival_ns` | int64 [n] | ns since 1970 |
| `call` | int64 [n] | frames of one call or connection share this number within a session |
| `down` | uint8 [n] | 0 towards the server, 1 towards the client |
| `method`, `peer` | int64 [n] | index into the lists of that name in the header |

Header (safetensors' metadata): `session`, `methods`, `peers` (JSON), and `sha256` over the
tensors and those lists.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from splitlab.errors import Corrupt
from splitlab.storage import hash_tensors, read_tensors, sha256, write_tensors

REMEDY = "copy the capture again from where it was taken, or tap again"
FIELDS = ("payload", "length", "size", "arrival_ns", "call", "down", "method", "peer")

Vantage = Literal["server", "relay", "tcp"]
FrameDirection = Literal["up", "down"]


@dataclass(frozen=True)
class Frame:
    """One message (or, from a TCP relay, one chunk whose bytes were not kept).

    Args:
        session, call: which start of the tap, and which call or connection within it.
        direction: "up" towards the server, "down" towards the client.
        method: path of the gRPC method, "" for TCP.
        size: bytes as it travelled, without gRPC's and HTTP/2's own framing.
        data: those bytes; empty where only sizes are kept.
    """

    session: int
    call: int
    direction: FrameDirection
    method: str
    peer: str
    arrival_ns: int
    size: int
    data: bytes = field(repr=False)


def shard_path(folder: Path, index: int) -> Path:
    return folder / f"shard-{index:06d}.safetensors"


def write_shard(folder: Path, index: int, session: int, frames: Sequence[Frame]) -> None:
    """Write one shard, atomically.

    Raises:
        StorageFull: no space left; nothing that was written before is touched.
    """
    methods = sorted({frame.method for frame in frames})
    peers = sorted({frame.peer for frame in frames})
    payload = b"".join(frame.data for frame in frames)
    tensors = {
        "payload": torch.frombuffer(bytearray(payload), dtype=torch.uint8)
        if payload
        else torch.empty(0, dtype=torch.uint8),
        "length": _column([len(frame.data) for frame in frames]),
        "size": _column([frame.size for frame in frames]),
        "arrival_ns": _column([frame.arrival_ns for frame in frames]),
        "call": _column([frame.call for frame in frames]),
        "down": _column([frame.direction == "down" for frame in frames]).to(torch.uint8),
        "method": _column([methods.index(frame.method) for frame in frames]),
        "peer": _column([peers.index(frame.peer) for frame in frames]),
    }
    lists = {"methods": json.dumps(methods), "peers": json.dumps(peers), "session": str(session)}
    write_tensors(shard_path(folder, index), tensors, {**lists, "sha256": _seal(tensors, lists)})


def read_shard(path: Path) -> Iterator[Frame]:
    """The frames of one shard, after its hash was compared.

    Raises:
        Corrupt: absent, cut short or changed.
    """
    tensors = read_tensors(path, REMEDY)
    try:
        with safe_open(path, "pt") as file:
            header: dict[str, str] = file.metadata() or {}
        lists = {name: header[name] for name in ("methods", "peers", "session")}
        whole = set(tensors) == set(FIELDS) and header["sha256"] == _seal(tensors, lists)
        methods, peers = json.loads(lists["methods"]), json.loads(lists["peers"])
        session = int(lists["session"])
    except (KeyError, ValueError, OSError, RecursionError, SafetensorError) as error:
        raise Corrupt(path, f"its header is not a capture's ({error})", REMEDY) from error
    if not whole:
        raise Corrupt(path, "its bytes are not those that the tap wrote", REMEDY)
    if (wrong := _inconsistent(tensors, session, methods, peers)) is not None:
        raise Corrupt(path, f"{wrong}, though its seal is whole", REMEDY)
    return _frames(tensors, session, methods, peers)


def _inconsistent(
    tensors: dict[str, Tensor], session: int, methods: object, peers: object
) -> str | None:
    """What no tap would write; whoever hands over a capture can seal what they like."""
    rows = len(tensors["length"]) if tensors["length"].dim() else -1
    for name, column in tensors.items():
        narrow = name in ("payload", "down")
        if column.dtype != (torch.uint8 if narrow else torch.int64) or column.dim() != 1:
            return f"its tensor {name!r} is {column.dtype} {list(column.shape)}"
        if name != "payload" and len(column) != rows:
            return f"its tensor {name!r} has {len(column)} values for {rows} frames"
        if not narrow and bool((column < 0).any()):
            return f"its tensor {name!r} has values below zero"
    for name, words in (("methods", methods), ("peers", peers)):
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            return f"its {name} are no list of words"
        if rows and int(tensors[name.removesuffix("s")].max()) >= len(words):
            return f"a frame names one of {len(words)} {name} that is not there"
    sizes = [int(value) for value in tensors["length"]]
    if sum(sizes) != len(tensors["payload"]):
        return f"its frames have {sum(sizes)} bytes and {len(tensors['payload'])} were kept"
    return "its session is below zero" if session < 0 else None


def _frames(
    tensors: dict[str, Tensor], session: int, methods: list[str], peers: list[str]
) -> Iterator[Frame]:
    columns: dict[str, list[Any]] = {name: tensors[name].tolist() for name in FIELDS[1:]}
    payload = tensors["payload"].numpy().tobytes()
    start = 0
    for row, length in enumerate(columns["length"]):
        yield Frame(
            session=session,
            call=columns["call"][row],
            direction="down" if columns["down"][row] else "up",
            method=methods[columns["method"][row]],
            peer=peers[columns["peer"][row]],
            arrival_ns=columns["arrival_ns"][row],
            size=columns["size"][row],
            data=payload[start : start + length],
        )
        start += length


def _column(values: Sequence[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)


def _seal(tensors: dict[str, Tensor], lists: dict[str, str]) -> str:
    parts = [f"{name}={lists[name]}".encode() for name in sorted(lists)]
    return sha256(hash_tensors(tensors).encode(), *parts)
