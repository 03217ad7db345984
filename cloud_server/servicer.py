"""The protocol's methods over gRPC: bytes go to the handler and the tap, errors become codes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from cloud_server.guard.in_flight import InFlight
from cloud_server.guard.limits import Limits
from cloud_server.handler import Abandoned, Handler, Overdue, Unsendable
from cloud_server.hosts import host_of
from cloud_server.watch.telemetry import Telemetry
from splitlab.capture import CaptureWriter
from splitlab.errors import BadInput, Mismatch, TooLarge, UnknownName
from splitlab.wire import open_inference_pb2 as pb
from splitlab.wire.messages import INFER, SERVICE, STREAM_INFER, id_of, stream_error

# The first that fits counts: TooLarge is a BadInput.
CODES: tuple[tuple[type[Exception], grpc.StatusCode], ...] = (
    (TooLarge, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (UnknownName, grpc.StatusCode.NOT_FOUND),
    (Mismatch, grpc.StatusCode.FAILED_PRECONDITION),
    (Overdue, grpc.StatusCode.DEADLINE_EXCEEDED),
    (Abandoned, grpc.StatusCode.CANCELLED),
    (BadInput, grpc.StatusCode.INVALID_ARGUMENT),
    (Unsendable, grpc.StatusCode.OUT_OF_RANGE),
)
INTERNAL_WORDS = "the server failed at this request; its own log says why"


def status_of(error: Exception) -> tuple[grpc.StatusCode, str]:
    """Code and words for the peer. What was not foreseen is INTERNAL, without its words."""
    for kind, code in CODES:
        if isinstance(error, kind):
            return code, str(error)
    return grpc.StatusCode.INTERNAL, INTERNAL_WORDS


class Servicer:
    """GRPCInferenceService.

    Args:
        handler: answers requests.
        tap: is given every inference message as it arrived and as it left; None for none.
        limits: how long a request may wait.
        telemetry: is told of every inference request.
    """

    def __init__(
        self, handler: Handler, tap: CaptureWriter | None, limits: Limits, telemetry: Telemetry
    ) -> None:
        self._handler, self._tap, self._limits = handler, tap, limits
        self._telemetry = telemetry
        self.in_flight = InFlight()

    def handlers(self) -> grpc.GenericRpcHandler[Any, Any]:
        """What `grpc.Server.add_generic_rpc_handlers` takes; inference messages stay bytes."""
        plain = {
            name: grpc.unary_unary_rpc_method_handler(
                method,
                request_deserializer=request.FromString,
                response_serializer=lambda message: message.SerializeToString(),
            )
            for name, method, request in (
                ("ServerLive", self._live, pb.ServerLiveRequest),
                ("ServerReady", self._ready, pb.ServerReadyRequest),
                ("ModelReady", self._model_ready, pb.ModelReadyRequest),
                ("ServerMetadata", self._server_metadata, pb.ServerMetadataRequest),
                ("ModelMetadata", self._model_metadata, pb.ModelMetadataRequest),
            )
        }
        raw = {
            "ModelInfer": grpc.unary_unary_rpc_method_handler(self._infer),
            "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(self._stream_infer),
        }
        return grpc.method_handlers_generic_handler(SERVICE, {**plain, **raw})

    def _live(self, *_: Any) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    def _ready(self, *_: Any) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=not self.in_flight.draining)

    def _model_ready(
        self, request: pb.ModelReadyRequest, context: grpc.ServicerContext
    ) -> pb.ModelReadyResponse:
        self._or_abort(context, lambda: self._handler.check_model(request.name, request.version))
        return pb.ModelReadyResponse(ready=not self.in_flight.draining)

    def _server_metadata(self, *_: Any) -> pb.ServerMetadataResponse:
        return self._handler.server_metadata()

    def _model_metadata(
        self, request: pb.ModelMetadataRequest, context: grpc.ServicerContext
    ) -> pb.ModelMetadataResponse:
        self._or_abort(context, lambda: self._handler.check_model(request.name, request.version))
        return self._handler.model_metadata()

    def _infer(self, raw: bytes, context: grpc.ServicerContext) -> bytes:
        call = self._listen(None, "up", raw, INFER, context)
        with self.in_flight as served:
            if not served:
                context.abort(grpc.StatusCode.UNAVAILABLE, "the server is stopping")
            reply: bytes = self._or_abort(context, lambda: self._answer(raw, context))
            self._listen(call, "down", reply, INFER, context)
            return reply

    def _stream_infer(
        self, requests: Iterator[bytes], context: grpc.ServicerContext
    ) -> Iterator[bytes]:
        call = None
        for raw in requests:
            call = self._listen(call, "up", raw, STREAM_INFER, context)
            with self.in_flight as served:
                if not served:
                    context.abort(grpc.StatusCode.UNAVAILABLE, "the server is stopping")
                reply = self._in_band(raw, context)
                self._listen(call, "down", reply, STREAM_INFER, context)
                yield reply

    def _answer(
        self, raw: bytes, context: grpc.ServicerContext, *, streamed: bool = False
    ) -> bytes:
        until = time.monotonic() + self._limits.seconds

        def wanted() -> bool:
            return context.is_active() and time.monotonic() < until

        try:
            try:
                host = host_of(context.peer())
                done = self._handler.infer(raw, wanted, host=host, streamed=streamed)
            except Abandoned as error:
                if not context.is_active():
                    raise
                raise Overdue(
                    f"the bodies were busy for {self._limits.seconds:g} s; send again later"
                ) from error
        except Exception as error:
            code, _ = status_of(error)
            for kind, reason in ((TooLarge, "rows"), (Overdue, "wait"), (Unsendable, "range")):
                if isinstance(error, kind):
                    self._telemetry.refused(reason, context.peer())
            self._telemetry.request(
                peer=context.peer(), message_id=id_of(raw), code=code.name, up=len(raw)
            )
            raise
        self._telemetry.request(
            peer=context.peer(),
            message_id=done.message_id,
            code="OK",
            up=len(raw),
            down=len(done.reply),
            rows=done.rows,
            stages_us=done.stages_us,
            each_us=done.each_us,
        )
        return done.reply

    def _in_band(self, raw: bytes, context: grpc.ServicerContext) -> bytes:
        """A stream goes on after a bad request, as Triton's does."""
        try:
            return self._answer(raw, context, streamed=True)
        except Exception as error:
            code, words = status_of(error)
            self._note(error, context)
            return stream_error(words, id_of(raw), code.name)

    def _or_abort(self, context: grpc.ServicerContext, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except Exception as error:
            code, words = status_of(error)
            self._note(error, context)
        return context.abort(code, words)

    def _note(self, error: Exception, context: grpc.ServicerContext) -> None:
        """What was not foreseen goes to the server's own log, with its traceback."""
        if status_of(error)[0] is grpc.StatusCode.INTERNAL:
            self._telemetry.failed(error, context.peer())

    def _listen(
        self, call: int | None, direction: Any, raw: bytes, method: str, context: Any
    ) -> int | None:
        if self._tap is None:
            return None
        number = self._tap.new_call() if call is None else call
        self._tap.record(number, direction, raw, method=method, peer=context.peer())
        return number
