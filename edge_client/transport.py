"""One server: its channel, the handshake, and calls that are sent again with the same bytes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from time import sleep
from typing import Any

import grpc

from edge_client.failures import explain
from edge_client.half import Half
from splitlab.errors import Mismatch, ServerRefused
from splitlab.wire import open_inference_pb2 as pb
from splitlab.wire import payload_bytes, reply_datatype
from splitlab.wire.channels import Tls, open_channel
from splitlab.wire.messages import DIGEST, ENVELOPE_BYTES, INFER, SERVICE

FIRST_PAUSE_S = 0.2  # before the second attempt; doubles with each further one
LONGEST_PAUSE_S = 2.0


class Call:
    """One request under way; the bytes are made once and never again.

    Attributes:
        attempts: how often they were sent.
        seconds: from the last sending to its answer, once `result` returned.
    """

    def __init__(self, transport: Transport, raw: bytes) -> None:
        self._transport, self._raw = transport, raw
        self.attempts, self.seconds = 0, 0.0
        self._send()

    def result(self) -> bytes:
        """Wait for the answer.

        Raises:
            ServerUnavailable: no answer, after the last attempt or the deadline.
            ServerRefused, Mismatch: an answer that says no.
        """
        while True:
            try:
                reply: bytes = self._future.result()
            except grpc.RpcError as error:
                if not self._transport.again(error, self.attempts):
                    raise self._transport.explain(error, self.attempts) from error
                sleep(pause(self.attempts))
                self._send()
                continue
            self.seconds = self._ended - self._started
            return reply

    def cancel(self) -> None:
        """Give up on it."""
        self._future.cancel()

    def _send(self) -> None:
        self.attempts += 1
        self._started = self._ended = time.perf_counter()
        self._future = self._transport.send(self._raw)
        self._future.add_done_callback(self._note_end)

    def _note_end(self, future: Any) -> None:
        if future is self._future:
            self._ended = time.perf_counter()


def pause(attempt: int) -> float:
    """Seconds to wait after the given attempt failed."""
    return float(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (attempt - 1)))


class Transport:
    """A connection to one server.

    Args:
        address: HOST:PORT.
        half: says what is sent and what must come back.
        deadline_s: seconds an attempt may take.
        retries: further attempts after the first, on UNAVAILABLE only.
    """

    def __init__(
        self,
        address: str,
        half: Half,
        *,
        deadline_s: float,
        retries: int,
        insecure: bool,
        tls: Tls | None,
    ) -> None:
        self.address, self._half = address, half
        self._deadline_s, self._retries = deadline_s, retries
        datatype = reply_datatype(half.wire)
        row = sum(payload_bytes(shape, datatype) for shape in half.outputs)
        self._channel = open_channel(
            address,
            insecure=insecure,
            tls=tls,
            max_receive=half.max_rows * row + ENVELOPE_BYTES * max(1, len(half.outputs)),
        )
        self._infer: Any = self._channel.unary_unary(INFER, None, None)
        self.outputs: tuple[str, ...] = ()

    def handshake(self) -> None:
        """Ask what is served there and learn which of the outputs this server holds.

        Raises:
            ServerUnavailable, ServerRefused: no answer, or no.
            Mismatch: another deployment, another feature or other outputs.
        """
        server = self._ask("ServerMetadata", pb.ServerMetadataRequest(), pb.ServerMetadataResponse)
        marked = [text for text in server.extensions if text.startswith(f"{DIGEST}:")]
        if marked and marked[0] != f"{DIGEST}:{self._half.digest}":
            raise Mismatch(
                f"{self.address} holds deployment {marked[0].partition(':')[2][:12]}, this client "
                f"half belongs to {self._half.digest[:12]}; use the two halves of one deployment"
            )
        request = pb.ModelMetadataRequest(name=self._half.model_name)
        model = self._ask("ModelMetadata", request, pb.ModelMetadataResponse)
        inputs = {tensor.name: tensor for tensor in model.inputs}
        self._fits("feature", inputs.get("feature"), self._half.feature.shape, self._half.wire)
        known = {f"output_{i}": shape for i, shape in enumerate(self._half.outputs)}
        for tensor in model.outputs:
            if tensor.name in known:
                datatype = reply_datatype(self._half.wire)
                self._fits(tensor.name, tensor, known[tensor.name], datatype)
        held = {tensor.name for tensor in model.outputs}
        self.outputs = tuple(name for name in known if name in held)

    def send(self, raw: bytes) -> Any:
        """Send one attempt; returns gRPC's future."""
        return self._infer.future(raw, timeout=self._deadline_s)

    def start(self, raw: bytes) -> Call:
        """Send a serialised request, to be waited for with `Call.result`."""
        return Call(self, raw)

    def again(self, error: grpc.RpcError, attempts: int) -> bool:
        """Whether a failed call is sent again: on UNAVAILABLE, while retries are left."""
        return error.code() is grpc.StatusCode.UNAVAILABLE and attempts <= self._retries

    def explain(self, error: grpc.RpcError, attempts: int) -> Exception:
        return explain(error, self.address, deadline_s=self._deadline_s, attempts=attempts)

    def close(self) -> None:
        self._channel.close()

    def _ask(self, method: str, request: Any, reply: Any) -> Any:
        call: Any = self._channel.unary_unary(
            f"/{SERVICE}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=reply.FromString,
        )
        attempts = 0
        while True:
            attempts += 1
            try:
                return call(request, timeout=self._deadline_s)
            except grpc.RpcError as error:
                if not self.again(error, attempts):
                    raise self.explain(error, attempts) from error
                sleep(pause(attempts))

    def _fits(self, name: str, given: Any, shape: Sequence[int], datatype: str) -> None:
        if given is None:
            raise ServerRefused(
                f"{self.address}: model {self._half.model_name!r} has no input {name!r}; "
                "it is not a server half of this lab"
            )
        if list(given.shape) != [-1, *shape] or given.datatype != datatype:
            raise Mismatch(
                f"{self.address}: {name} is {given.datatype} {list(given.shape)} there, this "
                f"client half has {datatype} {[-1, *shape]}; use the two halves of one deployment"
            )
