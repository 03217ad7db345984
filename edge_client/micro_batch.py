"""One micro-batch on its way: head -> protect -> encode -> servers -> decode -> select -> tail."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from edge_client.half import Half
from edge_client.ledger import Ledger
from edge_client.transport import Call, Transport
from splitlab.errors import BadInput, ServerRefused
from splitlab.randomness import KeyedDraw
from splitlab.wire import Reply, Request, WireTensor, decode, encode, reply_datatype
from splitlab.wire.messages import DIGEST
from splitlab.wire.request_ids import message_id


class MicroBatch:
    """Does everything up to the wire at once; `finish` waits for the answers and does the rest.

    Args:
        half: the client half.
        transports: a server each, after their handshakes.
        images: float [b, 3, H, W] in [0, 1].
        request_id, first_row: where these images stand in which request; they key the noise.
        ledger: is told what it costs.
    """

    def __init__(
        self,
        half: Half,
        transports: Sequence[Transport],
        images: Tensor,
        request_id: str,
        first_row: int,
        ledger: Ledger,
    ) -> None:
        self._half, self._ledger, self._rows = half, ledger, len(images)
        self._id = message_id(request_id, first_row)
        self._draw = KeyedDraw(half.secret, request_id, first_row)
        with torch.inference_mode():
            with ledger.stage("head"):
                feature = half.head(images)
            with ledger.stage("protect"):
                feature = half.protect(feature, self._draw)
        with ledger.stage("encode"):
            tensors = tuple(encode(feature, half.wire))
            raws = [self._request(tensors, transport) for transport in transports]
        payload = sum(len(tensor.data) for tensor in tensors)
        self._calls: list[tuple[Transport, Call]] = []
        for transport, raw in zip(transports, raws, strict=True):
            ledger.sent(payload, raw)
            self._calls.append((transport, transport.start(raw)))

    def finish(self) -> Tensor:
        """Logits [b, classes].

        Raises:
            ServerUnavailable, ServerRefused, Mismatch: a server failed, or answered nonsense.
        """
        outputs: dict[str, Tensor] = {}
        slowest: tuple[float, Reply | None] = (0.0, None)
        for transport, call in self._calls:
            raw = call.result()
            self._ledger.retries += call.attempts - 1
            try:
                with self._ledger.stage("decode"):
                    reply = Reply.from_bytes(raw)
                    outputs |= self._decoded(reply, transport)
            except BadInput as error:
                raise ServerRefused(
                    f"{transport.address} answered with something else than was asked for: "
                    f"{error}; use the two halves of one deployment"
                ) from error
            self._ledger.received(sum(len(tensor.data) for tensor in reply.tensors), raw)
            slowest = max(slowest, (call.seconds, reply), key=lambda pair: pair[0])
        self._note(*slowest)
        with torch.inference_mode(), self._ledger.stage("tail"):
            ordered = [outputs[f"output_{i}"] for i in range(len(self._half.outputs))]
            return self._half.tail(self._half.select(ordered, self._draw))

    def cancel(self) -> None:
        """Give up on it."""
        for _, call in self._calls:
            call.cancel()

    def _request(self, tensors: tuple[WireTensor, ...], transport: Transport) -> bytes:
        """The client asks for everything the server holds, in order, whatever the selector."""
        return Request(
            model_name=self._half.model_name,
            message_id=self._id,
            tensors=tensors,
            outputs=transport.outputs,
            parameters={DIGEST: self._half.digest},
        ).to_bytes()

    def _decoded(self, reply: Reply, transport: Transport) -> dict[str, Tensor]:
        if reply.message_id != self._id:
            raise BadInput(f"id {reply.message_id!r}, {self._id!r} was wanted")
        decoded = {}
        for name in transport.outputs:
            shape = self._half.outputs[int(name.removeprefix("output_"))]
            datatype = reply_datatype(self._half.wire)
            output = decode(reply.tensors, name=name, datatype=datatype, shape=shape)
            if len(output) != self._rows:
                raise BadInput(f"{name} has {len(output)} rows, {self._rows} were wanted")
            decoded[name] = output
        return decoded

    def _note(self, seconds: float, reply: Reply | None) -> None:
        """Part the slowest server's round trip into its own time and the network's."""
        told = {} if reply is None else reply.parameters
        server = {
            stage: sum(float(told.get(f"splitlab_{name}_us", 0)) for name in names) / 1e6
            for stage, names in (
                ("queue", ("queue",)),
                ("codec", ("decode", "encode")),
                ("bodies", ("bodies",)),
            )
        }
        self._ledger.add_seconds("network", seconds - sum(server.values()))
        if any(name.startswith("splitlab_") for name in told):
            for stage, spent in server.items():
                self._ledger.add_seconds(stage, spent)
