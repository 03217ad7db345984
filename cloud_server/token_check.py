"""Who has no token gets UNAUTHENTICATED before a message of it is read."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any

import grpc

from splitlab.wire.token import HEADER, header

OPEN = "/grpc.health.v1.Health/Check"
"""Probes of an orchestrator carry no token; whether the server is up is no secret. A watch holds a
thread, which a stranger does not get."""
WORDS = "this server asks for a token; give the client --token-file with the server's"


class TokenCheck(grpc.ServerInterceptor):  # type: ignore[type-arg]
    """
    Args:
        token: what a caller must show.
        ended: told of the method and code of every call that is refused.
    """

    def __init__(self, token: str, ended: Callable[[str, str], None]) -> None:
        ((_, wanted),) = header(token)
        self._wanted = wanted.encode()
        self._ended = ended
        self._refusal = grpc.stream_stream_rpc_method_handler(_refuse)

    def intercept_service(
        self, continuation: Callable[[Any], Any], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        if handler_call_details.method == OPEN:
            return continuation(handler_call_details)
        shown = [
            value if isinstance(value, bytes) else value.encode()
            for key, value in handler_call_details.invocation_metadata or ()
            if key == HEADER
        ]
        if len(shown) == 1 and hmac.compare_digest(shown[0], self._wanted):
            return continuation(handler_call_details)
        # What a stranger names is no label: there would be as many as it likes.
        self._ended("any", grpc.StatusCode.UNAUTHENTICATED.name)
        return self._refusal


def _refuse(_messages: Any, context: grpc.ServicerContext) -> Any:
    context.abort(grpc.StatusCode.UNAUTHENTICATED, WORDS)
