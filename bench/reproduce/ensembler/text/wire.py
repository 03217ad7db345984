"""Translate over the real wire: gRPC on the loopback interface, tapped at the server.

Server and client share one process here, since deployments on disk hold networks of images; the
bytes between them, the checks and the capture are those of `cloud-server` and `edge-client`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import grpc
import torch
from torch import Tensor, nn

from cloud_server.server import CloudServer
from defenses import protect
from edge_client.transport import Transport
from splitlab.capture import CaptureWriter
from splitlab.contracts import FeatureSpec, InputSpec
from splitlab.data.text.vocabulary import END, PAD
from splitlab.models.seq2seq import Seq2Seq
from splitlab.randomness import Draw, KeyedDraw, Secret
from splitlab.storage import hash_tensors
from splitlab.training.translator import fed
from splitlab.wire import (
    Reply,
    Request,
    decode,
    encode,
    micro_batch_rows,
    reply_datatype,
)
from splitlab.wire.messages import DIGEST
from splitlab.wire.request_ids import message_id, new_request_id

WIRE = "gRPC over loopback, server and client in one process, tapped at the server"


@dataclass(frozen=True, eq=False)
class TextHalves:
    """A translator as both sides of the wire ask for it: `cloud_server.half`, `edge_client.half`.

    Args:
        net: the trained translator, in eval mode.
        protectors: what acts on z on the client.
        secret: keys the noise.
        wire: datatype of the feature on the wire.
    """

    net: Seq2Seq
    protectors: nn.ModuleList
    secret: Secret
    wire: str = "FP32"
    model_name: str = "translator"
    input: InputSpec = field(default_factory=lambda: InputSpec(kind="tokens"))
    classes: tuple[str, ...] = ()
    body_ids: list[int] = field(default_factory=lambda: [0])

    @property
    def digest(self) -> str:
        return hash_tensors(self.net.body.state_dict())

    @property
    def feature(self) -> FeatureSpec:
        return FeatureSpec(shape=self.net.spec.feature_shape)

    @property
    def outputs(self) -> list[tuple[int, ...]]:
        return [self.net.spec.output_shape]

    @property
    def max_rows(self) -> int:
        return micro_batch_rows(self.feature.shape, self.wire)

    @property
    def bodies(self) -> nn.ModuleList:
        return nn.ModuleList([self.net.body])

    def head(self, tokens: Tensor, /) -> Tensor:
        """int64 [B, T] -> z [B, T, width]."""
        return self.net.head(tokens)

    def protect(self, feature: Tensor, draw: Draw) -> Tensor:
        return protect(self.protectors, feature, draw)

    def select(self, outputs: list[Tensor], draw: Draw) -> Tensor:
        del draw
        return outputs[0]

    def tail(self, selected: Tensor, /) -> Tensor:
        return self.net.tail(selected)


@dataclass(frozen=True, eq=False)
class Translated:
    """What the client got, and what it cost.

    Args:
        target: int64 [n, target_length], in the order of the sentences given.
        ids: "request id/row" of each sentence; the join table, which stays with the client.
        messages: requests sent.
        payload_up, payload_down: raw contents of all tensors, in bytes.
    """

    target: Tensor
    ids: list[str]
    messages: int
    payload_up: int
    payload_down: int


def translate(
    halves: TextHalves, source: Tensor, capture: Path, request_id: str | None = None
) -> Translated:
    """Greedy translation of int64 [n, source_length] through a tapped server.

    Sentences are sent shuffled under a random id, rows of one request; each further word sends the
    sentence again with a longer target, under the same id and so with the same noise.

    Args:
        request_id: 32 hex digits, for reproduction only; default fresh from the operating system.
    """
    writer = CaptureWriter(capture, "server")
    server = CloudServer(halves, "127.0.0.1:0", tap=writer, engine="plain")
    server.start()
    transport = Transport(
        server.address, halves, deadline_s=60.0, retries=0, insecure=False, tls=None
    )
    try:
        transport.handshake()
        return _translate(halves, source, transport, request_id or new_request_id())
    finally:
        transport.close()
        server.stop()
        writer.close()


def _translate(
    halves: TextHalves, source: Tensor, transport: Transport, request_id: str
) -> Translated:
    order = halves.secret.derive(request_id).permutation(len(source), "order")
    target = torch.full((len(source), halves.net.spec.target_length), PAD)
    ids = [""] * len(source)
    talk = _Talk(halves, transport, request_id)
    for first_row in range(0, len(source), halves.max_rows):
        rows = order[first_row : first_row + halves.max_rows]
        target[rows] = greedy(partial(talk.ask, first_row), source[rows], target[rows])
        for place, row in enumerate(rows.tolist()):
            ids[row] = f"{request_id}/{first_row + place}"
    return Translated(target, ids, talk.messages, talk.payload_up, talk.payload_down)


def greedy(logits: Callable[[Tensor], Tensor], source: Tensor, target: Tensor) -> Tensor:
    """The likeliest next word, again and again; <pad> after <eos>.

    Args:
        logits: int64 [B, T] -> [B, target_length, words].
        source: int64 [B, source_length].
        target: int64 [B, target_length], all <pad>.
    """
    target = target.clone()
    open_rows = torch.ones(len(target), dtype=torch.bool)
    for place in range(target.shape[1]):
        word = logits(fed(source, target))[:, place].argmax(1)
        target[:, place] = torch.where(open_rows, word, PAD)
        open_rows &= word != END
        if not open_rows.any():
            break
    return target


class _Talk:
    """Asks the server under one request's id, and counts."""

    def __init__(self, halves: TextHalves, transport: Transport, request_id: str) -> None:
        self._halves, self._transport, self._id = halves, transport, request_id
        self.messages = self.payload_up = self.payload_down = 0

    @torch.inference_mode()
    def ask(self, first_row: int, tokens: Tensor) -> Tensor:
        """int64 [B, T] -> logits [B, target_length, words], by way of the server."""
        halves = self._halves
        draw = KeyedDraw(halves.secret, self._id, first_row)
        tensors = tuple(encode(halves.protect(halves.head(tokens), draw), halves.wire))
        request = Request(
            model_name=halves.model_name,
            message_id=message_id(self._id, first_row),
            tensors=tensors,
            outputs=self._transport.outputs,
            parameters={DIGEST: halves.digest},
        )
        try:
            reply = Reply.from_bytes(self._transport.send(request.to_bytes()).result())
        except grpc.RpcError as error:
            raise self._transport.explain(error, 1) from error
        output = decode(
            reply.tensors,
            name="output_0",
            datatype=reply_datatype(halves.wire),
            shape=halves.outputs[0],
        )
        self.messages += 1
        self.payload_up += sum(len(tensor.data) for tensor in tensors)
        self.payload_down += sum(len(tensor.data) for tensor in reply.tensors)
        return halves.tail(halves.select([output], draw))
