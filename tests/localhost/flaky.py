"""A server whose attempts fail as they are told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from halves import Server

from cloud_server.engines.engine import Engine
from cloud_server.handler import Handler
from splitlab.wire.messages import INFER


class Flaky:
    """A server that answers like ours, but fails attempts as it is told."""

    def __init__(
        self, fail: Callable[[int], grpc.StatusCode | None], half: Server | None = None
    ) -> None:
        half = half or Server()
        self._engine = Engine(list(half.bodies), half.feature.shape, name="plain")
        self._handler, self._fail = Handler(half, self._engine), fail
        self._lock = threading.Lock()
        self.raws: list[bytes] = []
        self._server = grpc.server(ThreadPoolExecutor(4))
        self._server.add_generic_rpc_handlers((self._handlers(),))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def _handlers(self) -> Any:
        def plain(answer: Callable[[], Any]) -> Any:
            return grpc.unary_unary_rpc_method_handler(
                lambda _request, _context: answer().SerializeToString()
            )

        def no_streams() -> Any:
            metadata = self._handler.server_metadata()
            metadata.extensions.remove("streaming")
            return metadata

        return grpc.method_handlers_generic_handler(
            INFER.split("/")[1],
            {
                "ServerMetadata": plain(no_streams),
                "ModelMetadata": plain(self._handler.model_metadata),
                "ModelInfer": grpc.unary_unary_rpc_method_handler(self._infer),
            },
        )

    def _infer(self, raw: bytes, context: grpc.ServicerContext) -> bytes:
        with self._lock:
            self.raws.append(raw)
            code = self._fail(len(self.raws))
        if code is not None:
            context.abort(code, "as told")
        return self._handler.infer(raw).reply

    def stop(self) -> None:
        self._server.stop(None).wait()
        self._engine.close()
