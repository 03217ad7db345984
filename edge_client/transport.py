"""One server: its channel, the handshake, and whether it has just failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from time import sleep
from typing import Any

import grpc

from edge_client.failures import explain
from edge_client.half import UsedHalf
from edge_client.lanes import Lanes
from edge_client.simulated_link import AccessLink, SimulatedLink
from edge_client.tls_probe import diagnose
from splitlab.errors import Mismatch, ServerRefused, foreign
from splitlab.wire import open_inference_pb2 as pb
from splitlab.wire import payload_bytes, reply_datatype
from splitlab.wire.channels import Tls, open_channel
from splitlab.wire.messages import DIGEST, ENVELOPE_BYTES, INFER, SERVICE, STREAM_INFER
from splitlab.wire.token import header

FIRST_PAUSE_S = 0.2  # before the second attempt; doubles with each further one
LONGEST_PAUSE_S = 2.0
STALL_S = 3.0  # without an answer for so long, whoever listens is told that one is waited for
REST_S = 30.0  # a server that failed is asked last for so long, where others hold its bodies


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
        token: shown with every call.
        notice: is told in words when the server fails, stalls or answers again.
        link: that requests and replies are delayed by as if it lay between, shared with the
            client's other servers; None for none.
    """

    def __init__(
        self,
        address: str,
        half: UsedHalf,
        *,
        deadline_s: float,
        retries: int,
        insecure: bool,
        tls: Tls | None,
        token: str | None = None,
        notice: Callable[[str], None] = lambda _: None,
        link: AccessLink | None = None,
    ) -> None:
        self.address, self._half = address, half
        self._deadline_s, self.retries, self._tls = deadline_s, retries, tls
        self._rests_until, self._well, self._notice = 0.0, True, notice
        datatype = reply_datatype(half.wire)
        row = sum(payload_bytes(shape, datatype) for shape in half.outputs)
        self._channel = open_channel(
            address,
            insecure=insecure,
            tls=tls,
            token=token,
            max_receive=half.max_rows * row + ENVELOPE_BYTES * max(1, len(half.outputs)),
        )
        self._infer: Any = self._channel.unary_unary(INFER, None, None)
        stream: Any = self._channel.stream_stream(STREAM_INFER, None, None)
        self._metadata, self._streams = header(token), False
        self._lanes = Lanes(lambda raws: stream(raws, metadata=self._metadata), self._send)
        self.outputs: tuple[str, ...] = ()
        self._link = SimulatedLink(link, self._send, deadline_s) if link is not None else None

    def handshake(self) -> None:
        """Ask what is served there and learn which of the outputs this server holds.

        Raises:
            ServerUnavailable, ServerRefused: no answer, or no.
            Mismatch: another deployment, another feature or other outputs.
        """
        server = self._ask("ServerMetadata", pb.ServerMetadataRequest(), pb.ServerMetadataResponse)
        self._streams = "streaming" in server.extensions
        marked = [text for text in server.extensions if text.startswith(f"{DIGEST}:")]
        if marked and marked[0] != f"{DIGEST}:{self._half.digest}":
            there = marked[0].partition(":")[2]
            raise Mismatch(
                f"{self.address} holds deployment {foreign(there[:12])}, this client "
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
        """Send one attempt; returns gRPC's future, or what does as one.

        Over a simulated link each message is a call: there the link decides how long it takes.
        """
        if self._link is not None:
            return self._link.send(raw)
        if self._streams:
            return self._lanes.send(raw, self._deadline_s)
        return self._send(raw, self._deadline_s)

    @property
    def resting(self) -> bool:
        """Whether it has just failed."""
        return time.monotonic() < self._rests_until

    def rest(self, error: grpc.RpcError) -> None:
        """It failed: let others go first for a while."""
        self._rests_until = time.monotonic() + REST_S
        self._tell(f"{self.address} fails ({error.code().name}); what it was sent is sent again")

    def stalls(self) -> None:
        """It has not answered for `STALL_S`."""
        self._tell(
            f"{self.address} has not answered for {STALL_S:g} s; waiting, at most "
            f"{self._deadline_s:g} s"
        )

    def works(self) -> None:
        """It answered."""
        self._rests_until = 0.0
        if not self._well:
            self._well = True
            self._notice(f"{self.address} answers again")

    def _tell(self, words: str) -> None:
        """Once, until it answers again."""
        if self._well:
            self._well = False
            self._notice(words)

    @property
    def bodies(self) -> list[int]:
        """Ids of the bodies that it holds, known after the handshake."""
        return [int(name.removeprefix("output_")) for name in self.outputs]

    def explain(self, error: grpc.RpcError, attempts: int) -> Exception:
        """The lab's error for a failed call; it names the bodies where the server has not all."""
        name = self.address
        if 0 < len(self.outputs) < len(self._half.outputs):
            name = f"{name} (which holds {', '.join(self.outputs)})"
        why = None
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            why = diagnose(self.address, self._tls)
        return explain(error, name, deadline_s=self._deadline_s, attempts=attempts, why=why)

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
        self._lanes.close()
        self._channel.close()

    def _send(self, raw: bytes, seconds: float) -> Any:
        return self._infer.future(raw, timeout=seconds, metadata=self._metadata)

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
                return call(request, timeout=self._deadline_s, metadata=self._metadata)
            except grpc.RpcError as error:
                unavailable = error.code() is grpc.StatusCode.UNAVAILABLE
                if not unavailable or attempts > self.retries:
                    raise self.explain(error, attempts) from error
                sleep(pause(attempts))

    def _fits(self, name: str, given: Any, shape: Sequence[int], datatype: str) -> None:
        if given is None:
            raise ServerRefused(
                f"{self.address}: model {self._half.model_name!r} has no input {name!r}; "
                "it is not a server half of this lab"
            )
        if list(given.shape) != [-1, *shape] or given.datatype != datatype:
            there = foreign(f"{given.datatype} {list(given.shape)}")
            raise Mismatch(
                f"{self.address}: {name} is {there} there, this "
                f"client half has {datatype} {[-1, *shape]}; use the two halves of one deployment"
            )
