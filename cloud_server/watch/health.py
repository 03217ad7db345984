"""gRPC's health service. A watch of it holds a thread for as long as it lasts, so that of watches
there are only a few at a time; whoever gets none may ask `Check` again and again.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import grpc
from grpc_health.v1 import health

from cloud_server.hosts import host_of

WATCHES = 32
"""At a time, of all hosts."""
OF_ONE_HOST = 4


class Health(health.HealthServicer):
    """Health of the server and of its services.

    Args:
        refused: told of every refusal's reason, `watches`, and peer.
    """

    def __init__(self, refused: Callable[[str, str], None] = lambda _reason, _peer: None) -> None:
        # Otherwise a watch bypasses the handler that the gate wraps.
        super().__init__(experimental_non_blocking=False)
        self._refused, self._counting = refused, threading.Lock()
        self._watches: Counter[str] = Counter()

    def Watch(  # noqa: N802
        self, request: Any, context: grpc.ServicerContext, send_response_callback: Any = None
    ) -> Any:
        """The state now and at every change; RESOURCE_EXHAUSTED where too many watch already."""
        host = host_of(context.peer())
        with self._counting:
            room = self._watches.total() < WATCHES and self._watches[host] < OF_ONE_HOST
            self._watches[host] += room
        if not room:
            self._refused("watches", context.peer())
            context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"{OF_ONE_HOST} watches of a host and {WATCHES} of all are granted; ask Check",
            )

        def leave() -> None:
            with self._counting:
                self._watches -= Counter([host])  # keeps no host without a watch

        if not context.add_callback(leave):
            leave()
        return super().Watch(request, context, send_response_callback)
