"""Requests and replies as plain data, and their bytes.

What SplitLab puts into the Open Inference Protocol's messages:
- request: `model_name`; `id` = "<32 hex>-<first row>"; parameter `splitlab_digest`, the digest of
  the server half (a server refuses another, and accepts requests without one); input `feature`
  (INT8: also `feature_scale`, `feature_zero_point`); all outputs, in order; raw contents.
- error in a stream: the reply inside has parameter `splitlab_code`, the name of the gRPC status.
- reply: the request's `id`; outputs `output_<body id>`; parameters `splitlab_queue_us`,
  `splitlab_decode_us`, `splitlab_bodies_us`, `splitlab_encode_us`, the server's own time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from splitlab.errors import BadInput, foreign
from splitlab.wire import open_inference_pb2 as pb
from splitlab.wire.codec import WireTensor
from splitlab.wire.extensions import require_plain
from splitlab.wire.framing import OF_ONE_KIND, Buffer, cut, join

SERVICE = "inference.GRPCInferenceService"
INFER = f"/{SERVICE}/ModelInfer"
STREAM_INFER = f"/{SERVICE}/ModelStreamInfer"
# Numbers of fields that hold the bulk of a message, and of those that there may be many of.
RAW_INPUTS, RAW_OUTPUTS, STREAM_REPLY = 7, 6, 2
ASKED, ANSWERED = 6, 5
TENSORS, TYPED = 5, 5
"""Tensors of a request as of a reply, and typed values inside of a tensor."""
OUTPUTS_AT_MOST = 1024
"""Of one message, where no half says how many there are; deployments have at most 1000 bodies."""
DIMENSIONS_AT_MOST = 16
DIGEST = "splitlab_digest"
MAX_ROWS = "splitlab_max_rows"
CODE = "splitlab_code"
# Names, shapes and parameters around the raw contents; a request has a handful of tensors.
ENVELOPE_BYTES = 64 << 10

Parameter = bool | int | float | str


@dataclass(frozen=True)
class Request:
    """One ModelInferRequest."""

    model_name: str
    message_id: str
    tensors: tuple[WireTensor, ...]
    outputs: tuple[str, ...] = ()
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    model_version: str = ""

    @property
    def digest(self) -> str | None:
        """The digest it carries, or None; not every client of the protocol sends one."""
        value = self.parameters.get(DIGEST)
        return None if value is None else str(value)

    def to_bytes(self) -> bytes:
        """The message; equal requests give equal bytes."""
        message = pb.ModelInferRequest(
            model_name=self.model_name, model_version=self.model_version, id=self.message_id
        )
        for name, value in self.parameters.items():
            message.parameters[name].CopyFrom(_parameter(value))
        for tensor in self.tensors:
            message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        for output in self.outputs:
            message.outputs.add(name=output)
        head = message.SerializeToString(deterministic=True)
        return join(head, RAW_INPUTS, [tensor.data for tensor in self.tensors])

    @classmethod
    def from_bytes(cls, raw: bytes, outputs: int = OUTPUTS_AT_MOST) -> Request:
        """Parse one message.

        Args:
            outputs: that it may ask for; fewer than `OF_ONE_KIND` are no limit.

        Raises:
            BadInput: not a ModelInferRequest, more tensors, outputs or parameters than may be,
                raw contents that do not fit the inputs, or an extension that is not served.
        """
        message = pb.ModelInferRequest()
        most = {ASKED: max(outputs, OF_ONE_KIND)}
        contents = _parse(message, raw, RAW_INPUTS, most, "a ModelInferRequest")
        require_plain(message)
        return cls(
            model_name=message.model_name,
            message_id=message.id,
            tensors=_tensors(message.inputs, contents, "input"),
            outputs=tuple(output.name for output in message.outputs),
            parameters=_parameters(message.parameters),
            model_version=message.model_version,
        )


@dataclass(frozen=True)
class Reply:
    """One ModelInferResponse."""

    model_name: str
    message_id: str
    tensors: tuple[WireTensor, ...]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    model_version: str = "1"

    def to_bytes(self, *, streamed: bool = False) -> bytes:
        """The message; equal replies give equal bytes.

        Args:
            streamed: as a ModelStreamInferResponse, which holds the reply.
        """
        message = pb.ModelInferResponse(
            model_name=self.model_name, model_version=self.model_version, id=self.message_id
        )
        for name, value in self.parameters.items():
            message.parameters[name].CopyFrom(_parameter(value))
        for tensor in self.tensors:
            message.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        head = message.SerializeToString(deterministic=True)
        inside = STREAM_REPLY if streamed else None
        return join(head, RAW_OUTPUTS, [tensor.data for tensor in self.tensors], inside)

    @classmethod
    def from_bytes(cls, raw: Buffer) -> Reply:
        """Parse one message.

        Raises:
            BadInput: not a ModelInferResponse, more outputs or parameters than may be, or raw
                contents that do not fit the outputs.
        """
        message = pb.ModelInferResponse()
        most = {ANSWERED: OUTPUTS_AT_MOST, RAW_OUTPUTS: OUTPUTS_AT_MOST}
        contents = _parse(message, raw, RAW_OUTPUTS, most, "a ModelInferResponse")
        return cls(
            model_name=message.model_name,
            message_id=message.id,
            tensors=_tensors(message.outputs, contents, "output"),
            parameters=_parameters(message.parameters),
            model_version=message.model_version,
        )


def id_of(raw: bytes) -> str:
    """The id of a ModelInferRequest that may be refused; "" where it is none."""
    message = pb.ModelInferRequest()
    try:
        _parse(message, raw, RAW_INPUTS, {ASKED: OUTPUTS_AT_MOST}, "a ModelInferRequest")
    except BadInput:
        return ""
    return str(message.id)


def stream_error(words: str, message_id: str, code: str = "") -> bytes:
    """An error in band; the reply inside carries the id of the request that failed.

    Args:
        code: the gRPC status that a call would have ended with; the protocol has no place for it,
            so it is a parameter of the reply.
    """
    reply = pb.ModelInferResponse(id=message_id)
    if code:
        reply.parameters[CODE].string_param = code
    message = pb.ModelStreamInferResponse(error_message=words, infer_response=reply)
    return message.SerializeToString(deterministic=True)


def tells_error(raw: bytes) -> bool:
    """Whether a ModelStreamInferResponse that `Reply.to_bytes` or `stream_error` wrote is an error:
    fields are in order, and the words are the first.
    """
    return raw[:1] == b"\x0a"


def from_stream(raw: bytes) -> tuple[str, Reply]:
    """(error message, reply) of one ModelStreamInferResponse; the error is empty if all went well.

    Raises:
        BadInput: not such a message.
    """
    words, reply = from_stream_message(raw)
    return words, Reply.from_bytes(reply)


def from_stream_message(raw: bytes) -> tuple[str, Buffer]:
    """(error message, serialised ModelInferResponse) of one ModelStreamInferResponse.

    Raises:
        BadInput: not such a message.
    """
    message = pb.ModelStreamInferResponse()
    contents = _parse(message, raw, STREAM_REPLY, {}, "a ModelStreamInferResponse")
    # Of a field that comes again protobuf merges the parts, which is to read them one after another
    return message.error_message, contents[0] if len(contents) == 1 else b"".join(contents)


def _parse(
    message: Any, raw: Buffer, field: int, most: Mapping[int, int], what: str
) -> list[memoryview]:
    """Fill `message`, but for its raw contents, which are returned.

    Args:
        field: number of the raw contents.
        most: how often a field may come, by its number.
    """
    parts = cut(raw, field, most)
    if parts is None:
        raise BadInput(f"{len(raw)} bytes are not {what}")
    head, contents = parts
    if len(head) > ENVELOPE_BYTES:
        _require_small(head, most)
    try:
        message.ParseFromString(head)
    except (DecodeError, ValueError) as error:
        raise BadInput(f"{len(raw)} bytes are not {what}") from error
    return contents


def _require_small(head: bytes, most: Mapping[int, int]) -> None:
    """What is no value is small, and values are packed, or protobuf would make many objects of it.

    Raises:
        BadInput: more than `ENVELOPE_BYTES` around the values, or more fields than may be.
    """
    rest, tensors = cut(head, TENSORS, most) or (head, [])
    size = len(rest)
    for tensor in tensors:
        around, typed = cut(tensor, TYPED) or (tensor, [])
        size += len(around)
        for values in typed:
            cut(values, TYPED)
    if size > ENVELOPE_BYTES:
        raise BadInput(
            f"{size} bytes of names, shapes and parameters; give at most {ENVELOPE_BYTES}"
        )


def _tensors(declared: Sequence[Any], raw: Sequence[Buffer], what: str) -> tuple[WireTensor, ...]:
    if any(item.HasField("contents") for item in declared):
        if raw:
            raise BadInput(f"{what}s have raw contents and typed ones; give each its own once")
        raw = [_typed_contents(item) for item in declared]
    if len(raw) != len(declared):
        raise BadInput(f"{len(declared)} {what}s have {len(raw)} raw contents; give each its own")
    if any(len(item.shape) > DIMENSIONS_AT_MOST for item in declared):
        raise BadInput(f"an {what} has more than {DIMENSIONS_AT_MOST} dimensions; give fewer")
    return tuple(
        WireTensor(item.name, item.datatype, tuple(item.shape), data)
        for item, data in zip(declared, raw, strict=True)
    )


def _typed_contents(item: Any) -> bytes:
    """The protocol's other way to carry values: typed lists in place of raw contents."""
    if item.datatype == "FP32":
        return np.asarray(item.contents.fp32_contents, dtype="<f4").tobytes()
    if item.datatype == "INT8":
        values = np.asarray(item.contents.int_contents, dtype=np.int32)
        if values.size and (values.min() < -128 or values.max() > 127):
            raise BadInput(f"{foreign(item.name)} holds values beyond INT8")
        return values.astype(np.int8).tobytes()
    told = f"{foreign(item.name)}: {foreign(item.datatype)}"
    raise BadInput(f"{told} must come as raw contents")


def _parameter(value: Parameter) -> pb.InferParameter:
    if isinstance(value, bool):
        return pb.InferParameter(bool_param=value)
    if isinstance(value, int):
        return pb.InferParameter(int64_param=value)
    if isinstance(value, float):
        return pb.InferParameter(double_param=value)
    return pb.InferParameter(string_param=value)


def _parameters(given: Mapping[str, Any]) -> dict[str, Parameter]:
    found: dict[str, Parameter] = {}
    for name, value in given.items():
        which = value.WhichOneof("parameter_choice")
        if which is not None:
            found[name] = getattr(value, which)
    return found
