"""Who has no token gets UNAUTHENTICATED, or the server's health, before a message of it is read."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from cloud_server.guard.patience import Patience
from cloud_server.watch.health import Health
from splitlab.wire.token import HEADER, header

OPEN = "/grpc.health.v1.Health/Check"
"""Probes of an orchestrator carry no token; whether the server is up is no secret. A watch holds a
thread, which a stranger does not get."""
STRANGER_SECONDS = 1.0
"""Within which a stranger takes the answer."""
WORDS = "this server asks for a token; give the client --token-file with the server's"


class TokenCheck(grpc.ServerInterceptor):  # type: ignore[type-arg]
    """
    Args:
        token: what a caller must show.
        ended: told of the method and code of every call that goes no further.
        health: what a stranger may ask for.
        patience: ends the calls of strangers who do not take their answer.
        refused: told of every refusal's reason, `token`, and peer.
    """

    def __init__(
        self,
        token: str,
        ended: Callable[[str, str], None],
        health: Health,
        patience: Patience,
        refused: Callable[[str, str], None] = lambda _reason, _peer: None,
    ) -> None:
        ((_, wanted),) = header(token)
        self._wanted = wanted.encode()
        self._ended, self._health, self._patience = ended, health, patience
        self._refused = refused
        self._refusal = grpc.stream_stream_rpc_method_handler(self._refuse)
        self._open = grpc.stream_unary_rpc_method_handler(
            self._check,
            response_serializer=health_pb2.HealthCheckResponse.SerializeToString,
        )

    def intercept_service(
        self, continuation: Callable[[Any], Any], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        shown = [
            value if isinstance(value, bytes) else value.encode()
            for key, value in handler_call_details.invocation_metadata or ()
            if key == HEADER
        ]
        if len(shown) == 1 and hmac.compare_digest(shown[0], self._wanted):
            return continuation(handler_call_details)
        if handler_call_details.method == OPEN:
            return self._open
        # What a stranger names is no label: there would be as many as it likes.
        self._ended("any", grpc.StatusCode.UNAUTHENTICATED.name)
        return self._refusal

    def _check(self, _messages: Any, context: grpc.ServicerContext) -> Any:
        """The whole server's health, whichever service the message may name: a wait for it would
        hold a thread, and who never sends it would keep the others' probes out."""
        waiting = self._patience.add(context, STRANGER_SECONDS)

        def leave() -> None:
            self._patience.remove(waiting)

        if not context.add_callback(leave):
            leave()
        self._ended(OPEN, grpc.StatusCode.OK.name)
        return self._health.Check(health_pb2.HealthCheckRequest(), context)

    def _refuse(self, _messages: Any, context: grpc.ServicerContext) -> Any:
        self._refused("token", context.peer())
        context.abort(grpc.StatusCode.UNAUTHENTICATED, WORDS)
