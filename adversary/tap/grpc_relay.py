"""A transparent gRPC relay: passes every method on and keeps each message as it went by.

It knows no protobufs: handlers are generic, messages stay bytes. On the wire a unary call is a
stream of one message, so every method is relayed as a stream in both directions. Metadata,
deadlines, cancellation, status codes and their words are passed on unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from splitlab.capture import CaptureWriter
from splitlab.errors import BadInput
from splitlab.wire.channels import bind, open_channel, server_options, split_address

WORKERS = 64  # each call under way holds one thread
ANY_SIZE = -1  # bytes; who relays does not judge
LAST_BYTES_SECONDS = 1.0
LONGEST_SECONDS = 365 * 86_400.0

# Set by gRPC itself on the second leg; passed on they would stand there twice.
OWN_HEADERS = ("user-agent", "grpc-accept-encoding", "accept-encoding", "te", "content-type")


Relay = Callable[[str, Iterator[bytes], grpc.ServicerContext], Iterator[bytes]]


class GrpcRelay:
    """Listens between a client and its server.

    Args:
        listen: HOST:PORT for the client; port 0 picks a free one.
        upstream: HOST:PORT of the server.
        tap: keeps the messages; its owner closes it after `stop`.
        insecure: allow plaintext off loopback.

    Raises:
        BadInput: the port is taken, an address is none, or plaintext off loopback.
    """

    def __init__(
        self, listen: str, upstream: str, *, tap: CaptureWriter, insecure: bool = False
    ) -> None:
        self._tap = tap
        self._channel = open_channel(
            upstream, insecure=insecure, tls=None, max_receive=ANY_SIZE, flag="--upstream"
        )
        self._server = grpc.server(
            ThreadPoolExecutor(WORKERS, thread_name_prefix="relay"),
            options=server_options(ANY_SIZE),
        )
        self._server.add_generic_rpc_handlers((_Everything(self._relay),))
        self.host, _ = split_address(listen, "--listen")
        try:
            self.port = bind(self._server, listen, insecure=insecure, tls=None)
        except BadInput:
            self._channel.close()
            raise

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def start(self) -> None:
        """Take calls."""
        self._server.start()

    def stop(self) -> None:
        """End calls under way and close both sides."""
        self._server.stop(LAST_BYTES_SECONDS).wait()
        self._channel.close()

    def _relay(
        self, method: str, messages: Iterator[bytes], context: grpc.ServicerContext
    ) -> Iterator[bytes]:
        call = self._tap.new_call()
        peer = context.peer()

        def upwards() -> Iterator[bytes]:
            for message in messages:
                self._tap.record(call, "up", message, method=method, peer=peer)
                yield message

        onward: Any = self._channel.stream_stream(method, None, None)(
            upwards(),
            timeout=_deadline(context),
            metadata=_foreign(context.invocation_metadata()),
        )
        context.add_callback(onward.cancel)
        try:
            context.send_initial_metadata(_foreign(onward.initial_metadata()))
            for message in onward:
                self._tap.record(call, "down", message, method=method, peer=peer)
                yield message
        except grpc.RpcError:
            pass  # its code and words are the answer, set below
        context.set_trailing_metadata(_foreign(onward.trailing_metadata()))
        context.set_code(onward.code())
        context.set_details(onward.details() or "")


def _deadline(context: grpc.ServicerContext) -> float | None:
    """Seconds; a call without a deadline has billions of them, which gRPC does not take back."""
    left = context.time_remaining()
    return None if left is None or left > LONGEST_SECONDS else left


def _foreign(metadata: Any) -> tuple[Any, ...]:
    """Without what gRPC sets by itself."""
    return tuple((key, value) for key, value in metadata or () if key not in OWN_HEADERS)


class _Everything(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Offers every method there may be."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        method = handler_call_details.method

        def behaviour(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            return self._relay(method, messages, context)

        return grpc.stream_stream_rpc_method_handler(behaviour)
