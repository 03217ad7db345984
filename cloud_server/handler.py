"""Decode -> bodies -> encode, from bytes to bytes. Knows the protocol's messages but no gRPC."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

from cloud_server.engines.engine import Answer, Engine
from cloud_server.half import ServedHalf
from splitlab import __version__
from splitlab.errors import BadInput, Mismatch, SplitLabError, UnknownName
from splitlab.wire import Reply, Request, WireTensor, decode, encode, payload_bytes, reply_datatype
from splitlab.wire import open_inference_pb2 as pb
from splitlab.wire.codec import item_bytes
from splitlab.wire.int8 import parameter_columns
from splitlab.wire.messages import DIGEST, ENVELOPE_BYTES, MAX_ROWS

VERSION = "1"


class Abandoned(SplitLabError):
    """The caller went away before its turn came."""


class Overdue(SplitLabError):
    """It waited for the bodies for longer than is granted."""


class Unsendable(SplitLabError):
    """A body's output that the wire does not carry: NaN, Inf, or beyond the datatype. It is the
    feature that asks for it: bodies that give it for zeros do not pass `cloud-server --check`.
    """


def largest_request(half: ServedHalf) -> int:
    """Bytes of the largest declared micro-batch, with its envelope."""
    return half.max_rows * payload_bytes(half.feature.shape, half.wire) + ENVELOPE_BYTES


def held_per_byte(half: ServedHalf) -> float:
    """Bytes that a byte of a request takes: itself, its value in FP32, its share of the reply."""
    row = payload_bytes(half.feature.shape, half.wire)
    decoded = math.prod(half.feature.shape) * item_bytes("FP32")
    outputs = sum(math.prod(output) for output in half.outputs)
    return 1 + (decoded + outputs * item_bytes(reply_datatype(half.wire))) / row


def largest_held(half: ServedHalf) -> int:
    """Bytes that the largest request takes until its reply is gone."""
    return math.ceil(held_per_byte(half) * largest_request(half))


class Answered(NamedTuple):
    """A reply and what it took.

    Args:
        reply: a serialised ModelInferResponse, or the ModelStreamInferResponse around it.
        stages_us: microseconds in queue, decode, bodies and encode.
        each_us: microseconds in each body, where they run one by one.
    """

    reply: bytes
    message_id: str
    rows: int
    stages_us: dict[str, int]
    each_us: tuple[int, ...]


class Handler:
    """Answers inference requests for one server half.

    Args:
        half: the bodies and what they are fed.
        engine: runs them.
    """

    def __init__(self, half: ServedHalf, engine: Engine) -> None:
        self._half, self._engine = half, engine
        self._names = [f"output_{body_id}" for body_id in half.body_ids]

    def infer(
        self,
        raw: bytes,
        wanted: Callable[[], bool] = lambda: True,
        *,
        host: str = "",
        streamed: bool = False,
    ) -> Answered:
        """A serialised ModelInferRequest -> its answer, serialised.

        Args:
            raw: the message as it arrived.
            wanted: whether the caller still waits.
            host: whose turn it waits for.
            streamed: write the reply as a message of ModelStreamInfer.

        Raises:
            BadInput: not a request, or wrong datatype, shape, byte count, NaN, Inf, output name.
            TooLarge: more rows than declared.
            UnknownName: another model or version.
            Mismatch: the request belongs to another deployment.
            Abandoned: nobody waits any more.
            Unsendable: an output that the wire does not carry.
        """
        started = time.perf_counter_ns()
        request = Request.from_bytes(raw, outputs=len(self._names))
        self._check(request)
        names = self._asked(request)
        feature = decode(
            request.tensors,
            datatype=self._half.wire,
            shape=self._half.feature.shape,
            max_rows=self._half.max_rows,
        )
        decoded = time.perf_counter_ns()
        answer = self._engine.run(feature, wanted, host)
        if answer is None:
            raise Abandoned("the caller went away before its turn came")
        encoding = time.perf_counter_ns()
        tensors = self._encode(answer, names)
        ended = time.perf_counter_ns()
        stages = {
            "queue": answer.queue_us,
            "decode": (decoded - started) // 1000,
            "bodies": answer.bodies_us,
            "encode": (ended - encoding) // 1000,
        }
        reply = Reply(
            model_name=self._half.model_name,
            message_id=request.message_id,
            tensors=tensors,
            parameters={f"splitlab_{stage}_us": spent for stage, spent in stages.items()},
            model_version=VERSION,
        )
        return Answered(
            reply.to_bytes(streamed=streamed),
            request.message_id,
            len(feature),
            stages,
            answer.each_us,
        )

    def check_model(self, name: str, version: str) -> None:
        """Raise unless this is the model that is served.

        Raises:
            UnknownName: another model or version.
        """
        if name != self._half.model_name:
            raise UnknownName("model", name, [self._half.model_name])
        if version not in ("", VERSION):
            raise UnknownName("model version", version, [VERSION])

    def server_metadata(self) -> pb.ServerMetadataResponse:
        """Name, version, and as extensions what the protocol has no field for."""
        extensions = ["streaming", f"{DIGEST}:{self._half.digest}"]
        extensions.append(f"{MAX_ROWS}:{self._half.max_rows}")
        return pb.ServerMetadataResponse(
            name="splitlab", version=__version__, extensions=extensions
        )

    def model_metadata(self) -> pb.ModelMetadataResponse:
        """Inputs and outputs; -1 is the batch."""
        wire, shape = self._half.wire, self._half.feature.shape
        described = pb.ModelMetadataResponse(
            name=self._half.model_name, versions=[VERSION], platform="splitlab_pytorch"
        )
        described.inputs.add(name="feature", datatype=wire, shape=[-1, *shape])
        if wire == "INT8":
            for name in ("feature_scale", "feature_zero_point"):
                columns = parameter_columns(shape)
                described.inputs.add(name=name, datatype="FP32", shape=[-1, columns])
        for name, output in zip(self._names, self._half.outputs, strict=True):
            described.outputs.add(name=name, datatype=reply_datatype(wire), shape=[-1, *output])
        return described

    def _check(self, request: Request) -> None:
        self.check_model(request.model_name, request.model_version)
        if request.digest is not None and request.digest != self._half.digest:
            raise Mismatch(
                f"the request belongs to deployment {request.digest[:12]}, this server holds "
                f"{self._half.digest[:12]} of model {self._half.model_name!r}; use the two halves "
                "of one deployment"
            )

    def _asked(self, request: Request) -> list[str]:
        unknown = [name for name in request.outputs if name not in self._names]
        if unknown:
            raise BadInput(f"output {unknown[0]!r} is not served; there are {self._names}")
        if len(set(request.outputs)) != len(request.outputs):
            raise BadInput("an output is asked for twice; ask for each once")
        return list(request.outputs) or self._names

    def _encode(self, answer: Answer, names: list[str]) -> tuple[WireTensor, ...]:
        datatype = reply_datatype(self._half.wire)
        outputs = dict(zip(self._names, answer.outputs, strict=True))
        try:
            return tuple(
                tensor for name in names for tensor in encode(outputs[name], datatype, name)
            )
        except BadInput as error:
            raise Unsendable(str(error)) from error
