"""Readers of what strangers send or hand over, each fed with bytes; only the lab's own errors may
come out, and no more memory than what was given declares.

A target is a function of bytes. Some read them as they are; others read from them what to change in
something valid, seals and hashes made anew, so that what lies behind those is reached.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import grpc
import torch
from documents import RAW, document, tensor_file
from halves import OUTPUT, Server
from memory import LARGE, Target
from plan import Plan
from safetensors.torch import save

from cloud_server.engines.engine import Answer
from cloud_server.handler import Handler
from edge_client import lanes
from edge_client.micro_batch import server_seconds
from splitlab.capture import Capture
from splitlab.capture.index import read_index
from splitlab.capture.shards import FIELDS, _seal, read_shard
from splitlab.deployment.manifest import ClientManifest, ServerManifest, read_manifest
from splitlab.deployment.shards import read_server_manifest
from splitlab.errors import SplitLabError
from splitlab.record.store import RecordStore
from splitlab.storage import read_tensors, write_tensors
from splitlab.wire import Reply, Request, WireTensor, decode, encode
from splitlab.wire.messages import from_stream

SHAPE, ROWS = (4, 6, 6), 8
DATATYPES = ("FP32", "FP16", "BF16", "INT8", "UINT8", "BYTES", "FP64", "", "fp32")
NAMES = ("feature", "feature_scale", "feature_zero_point", "output_0", "")


def _read_request(raw: bytes) -> None:
    request = Request.from_bytes(raw)
    for datatype in ("FP32", "INT8"):
        try:
            decode(request.tensors, datatype=datatype, shape=SHAPE, max_rows=ROWS)
        except SplitLabError:
            continue


def request(data: bytes) -> None:
    """A ModelInferRequest as it arrives."""
    _read_request(data)


def reply(data: bytes) -> None:
    """A reply, of a call and of a stream, as a client reads it."""
    for read in (Reply.from_bytes, lambda raw: from_stream(raw)[1]):
        try:
            found = read(data)
            for tensor in found.tensors:
                decode(found.tensors, name=tensor.name)
        except SplitLabError:
            continue


def tensors(data: bytes) -> None:
    """Wire tensors whose names, types, shapes and contents do not fit together."""
    plan = Plan(data)
    made = []
    for _ in range(1 + plan.byte() % 4):
        name, datatype = plan.pick(NAMES), plan.pick(DATATYPES)
        shape = tuple(plan.number() for _ in range(plan.byte() % 6))
        made.append(WireTensor(name, datatype, shape, plan.some(9000)))
    _read_request(Request("tiny", "id", tuple(made)).to_bytes())


def valid_tensors(data: bytes) -> None:
    """Valid requests of any datatype with one of their bytes changed, or cut."""
    plan = Plan(data)
    feature = torch.linspace(-3, 3, 2 * 144).reshape(2, *SHAPE)
    parts = encode(feature, plan.pick(DATATYPES[:4]))
    raw = bytearray(Request("tiny", "id", tuple(parts)).to_bytes())
    for _ in range(1 + plan.byte() % 8):
        at = (plan.byte() | plan.byte() << 8) % len(raw)
        raw[at] = plan.byte()
    _read_request(bytes(raw[: len(raw) - plan.byte() % 16]))


def flood(data: bytes) -> None:
    """A mebibyte of the same few bytes over and over, as request, reply and stream."""
    piece = data[:64] or b"\x2a\x00"
    raw = piece * (LARGE // len(piece))
    for read in (request, reply, lane):
        try:
            read(raw)
        except SplitLabError:
            continue


def lane(data: bytes) -> None:
    """A message of a stream, as the client's lane settles it: an answer, an error, or a call."""

    def call(_raw: bytes, _seconds: float) -> None:
        raise ValueError("the channel is closed")

    pending = lanes.LaneReply(b"", 3600.0, call)
    lanes._settle(pending, data)
    with contextlib.suppress(grpc.RpcError):
        Reply.from_bytes(pending.result(0))


def timings(data: bytes) -> None:
    """What a server says of its own time."""
    spent = server_seconds(Reply.from_bytes(data).parameters, 2.0)
    assert all(math.isfinite(value) and 0 <= value <= 4 for value in spent.values())


class Still:
    """An engine without bodies and threads."""

    def run(self, feature: torch.Tensor, wanted: Callable[[], bool], _host: str) -> Answer:
        assert feature.shape[1:] == SHAPE
        assert wanted()
        return Answer([feature.flatten(1)[:, : OUTPUT[0]]], 0, 0)


HANDLERS = [Handler(Server(wire=wire), Still()) for wire in ("FP32", "INT8")]


def handler(data: bytes) -> None:
    """A request up to its reply: model, version, digest, outputs, tensors."""
    for served in HANDLERS:
        try:
            Reply.from_bytes(served.infer(data).reply)
        except SplitLabError:
            continue


class Folder:
    """Where targets write what readers read; in memory if there is such a place."""

    def __init__(self) -> None:
        memory = Path("/dev/shm")
        parent = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
        self._kept = tempfile.TemporaryDirectory(prefix="fuzz-", dir=parent)
        self.path = Path(self._kept.name)

    def write(self, name: str, data: bytes) -> Path:
        path = self.path / name
        path.write_bytes(data)
        return path


FOLDER = Folder()


def _json(name: str, data: bytes) -> bytes:
    """A document of this target, changed as the bytes plan it, or what is behind `RAW`."""
    if data.startswith(RAW):
        return data[len(RAW) :]
    return json.dumps(document(name, Plan(data))).encode()


def server_manifest(data: bytes) -> None:
    """`deployment.json` of a server half; its digest fits, where it can be made to, or is old."""
    raw = _json("server_manifest", data)
    if len(data) % 2 and not data.startswith(RAW):
        with contextlib.suppress(ValueError):
            made = ServerManifest.model_validate_json(raw)
            raw = made.model_copy(update={"digest": made.computed_digest()}).model_dump_json()
            raw = raw.encode()
    FOLDER.write("deployment.json", raw)
    read_server_manifest(FOLDER.path)


def client_manifest(data: bytes) -> None:
    """`deployment.json` of a client half."""
    FOLDER.write("deployment.json", _json("client_manifest", data))
    read_manifest(FOLDER.path, ClientManifest)


def weights(data: bytes) -> None:
    """A shard of weights."""
    raw = data[len(RAW) :] if data.startswith(RAW) else tensor_file(Plan(data))
    read_tensors(FOLDER.write("weights.safetensors", raw))


def capture_index(data: bytes) -> None:
    """`capture.json`."""
    FOLDER.write("capture.json", _json("capture_index", data))
    read_index(FOLDER.path)


def capture_shard(data: bytes) -> None:
    """Frames of a capture, their seal unbroken and what it seals not as it should be."""
    plan = Plan(data)
    count = plan.byte() % 4
    columns = {
        name: torch.tensor([plan.number() for _ in range(count)], dtype=torch.int64)
        for name in FIELDS[1:]
    }
    columns["down"] = columns["down"].to(torch.uint8)
    if plan.byte() % 8 == 1:
        name = plan.pick(FIELDS[1:])
        odd = torch.zeros(plan.byte() % 5, dtype=plan.pick((torch.int64, torch.float32)))
        columns[name] = odd if plan.byte() % 2 else odd.reshape(-1, 1)
    lists = {
        "methods": plan.pick(('["a"]', "[]", '["a", 1]', "{}", "3", "[", '"abc"', "[[]]")),
        "peers": plan.pick(('["b"]', "[]", "null", '["b", "c"]')),
        "session": plan.pick(("0", "-1", "x", "1" * 30)),
    }
    payload = plan.rest()
    columns["payload"] = torch.tensor(list(payload), dtype=torch.uint8)
    path = FOLDER.path / "shard-000000.safetensors"
    path.unlink(missing_ok=True)
    write_tensors(path, columns, {**lists, "sha256": _seal(columns, lists)})
    list(read_shard(path))


def capture(data: bytes) -> None:
    """A whole capture whose one frame holds these bytes, read up to its features."""
    folder = FOLDER.path / "capture"
    folder.mkdir(exist_ok=True)
    index = {
        "format": "splitlab/capture/1",
        "vantage": "server",
        "sessions": [{"first_shard": 0, "started_ns": 1, "closed": True, "frames": 1, "shards": 1}],
    }
    (folder / "capture.json").write_text(json.dumps(index))
    columns = {name: torch.zeros(1, dtype=torch.int64) for name in FIELDS[1:]}
    columns["down"] = columns["down"].to(torch.uint8)
    columns["length"] += len(data)
    columns["size"] += len(data)
    columns["payload"] = torch.tensor(list(data), dtype=torch.uint8)
    method = "/inference.GRPCInferenceService/ModelInfer"
    lists = {"methods": json.dumps([method]), "peers": '["p"]', "session": "0"}
    sealed = {**lists, "sha256": _seal(columns, lists)}
    (folder / "shard-000000.safetensors").write_bytes(save(columns, sealed))
    opened = Capture.open(folder)
    opened.exchanges()
    opened.features()


def record(data: bytes) -> None:
    """A record of a measured point, under the name that it gives itself where that is one."""
    raw, name = _json("record", data), "0" * 64
    if not data.startswith(RAW):
        own = json.loads(raw).get("hash")
        name = own if isinstance(own, str) and re.fullmatch("[0-9a-f]{64}", own) else name
    store = RecordStore(FOLDER.path)
    store.folder.mkdir(exist_ok=True)
    store.path(name).write_bytes(raw)
    try:
        store.read(name)
    finally:
        store.path(name).unlink()


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (
        request,
        reply,
        tensors,
        valid_tensors,
        flood,
        lane,
        timings,
        handler,
        server_manifest,
        client_manifest,
        weights,
        capture_index,
        capture_shard,
        capture,
        record,
    )
}
