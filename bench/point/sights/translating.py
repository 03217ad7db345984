"""Translate over the real wire: gRPC on the loopback interface, tapped at the server.

Server and client share one process here, since deployments on disk hold networks of images; the
bytes between them, the checks and the capture are those of `cloud-server` and `edge-client`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor, nn

from cloud_server.server import CloudServer
from defenses import protect
from edge_client.holders import Holders
from edge_client.ledger import Ledger
from edge_client.micro_batch import MicroBatch
from edge_client.transport import Transport
from splitlab.capture import Capture, CaptureWriter
from splitlab.contracts import FeatureSpec, InputSpec
from splitlab.models.seq2seq import Seq2Seq
from splitlab.pieces import in_pieces
from splitlab.randomness import Draw, KeyedDraw, Secret
from splitlab.storage import hash_tensors
from splitlab.training.translator import greedy
from splitlab.wire import micro_batch_rows
from splitlab.wire.codec import roundtrip
from splitlab.wire.request_ids import new_request_id

ROWS = 256
"""Sentences of one query."""


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

    @cached_property
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
class Translation:
    """What the client got, and what it cost.

    Args:
        target: int64 [n, target_length], in the order of the sentences given.
        join: "request id/row" -> index of the sentence; stays with the client.
        messages: requests sent.
        payload_up, payload_down: raw contents of all tensors, in bytes.
    """

    target: Tensor
    join: dict[str, int]
    messages: int
    payload_up: int
    payload_down: int


def translate(
    halves: TextHalves, source: Tensor, capture: Path, request_id: str | None = None
) -> Translation:
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
    request_id, ledger = request_id or new_request_id(), Ledger()
    order = halves.secret.derive(request_id).permutation(len(source), "order")
    length = halves.net.spec.target_length
    target, join = torch.empty(len(source), length, dtype=torch.int64), dict[str, int]()
    try:
        transport.handshake()
        servers = [Holders([transport])]

        def ask(first: int, tokens: Tensor) -> Tensor:
            sent = MicroBatch(halves, halves.head, servers, tokens, request_id, first, ledger)
            return sent.finish()

        for first in range(0, len(source), halves.max_rows):
            rows = order[first : first + halves.max_rows]
            target[rows] = greedy(partial(ask, first), source[rows], length)
            join |= {f"{request_id}/{first + at}": row for at, row in enumerate(rows.tolist())}
    finally:
        transport.close()
        server.stop()
        writer.close()
    return Translation(target, join, ledger.messages, ledger.payload_up, ledger.payload_down)


def last_features(capture: Capture) -> tuple[list[str], Tensor]:
    """What was sent last under each id: the source, and all of the target that was ever sent.

    Returns:
        ids "request id/row", and their features z^ [n, T, width].
    """
    ids, features = capture.features()
    latest: dict[str, int] = {}
    for place, name in enumerate(ids):
        request, _, row = name.rpartition("/")
        latest[f"{request.partition('#')[0]}/{row}"] = place
    return list(latest), features[torch.tensor(list(latest.values()))]


@torch.inference_mode()
def answers(halves: TextHalves, tokens: Tensor) -> Tensor:
    """z^ of chosen sentences as they would leave the wire: protected and through the codec."""
    secret, first = halves.secret.derive("queries"), 0

    def ask(part: Tensor) -> Tensor:
        nonlocal first
        draw = KeyedDraw(secret, "queries", first)
        first += len(part)
        return roundtrip(halves.protect(halves.head(part), draw), halves.wire)

    return in_pieces(ask, tokens, ROWS).clone()
