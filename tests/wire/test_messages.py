"""The bytes of a request and a reply, written out by hand, and what is no message."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from splitlab.errors import BadInput
from splitlab.wire import Reply, Request, WireTensor, decode, encode
from splitlab.wire import open_inference_pb2 as pb
from splitlab.wire.framing import join
from splitlab.wire.messages import DIGEST, STREAM_REPLY, from_stream, stream_error
from splitlab.wire.request_ids import message_id, new_request_id, split_message_id

ID = b"0123456789abcdef0123456789abcdef-16"

REQUEST = b"".join(
    (
        b"\x0a\x04tiny",  # 1 model_name
        b"\x1a\x23" + ID,  # 3 id
        b"\x22\x1b",  # 4 parameters: one entry of 27 bytes
        b"\x0a\x0fsplitlab_digest",  # its key
        b"\x12\x08\x1a\x06abcdef",  # its value: InferParameter, 3 string_param
        b"\x2a\x13",  # 5 inputs: one of 19 bytes
        b"\x0a\x07feature",  # 1 name
        b"\x12\x04FP32",  # 2 datatype
        b"\x1a\x02\x01\x02",  # 3 shape, packed: [1, 2]
        b"\x32\x0a\x0a\x08output_0",  # 6 outputs: name
        b"\x3a\x08",  # 7 raw_input_contents: 8 bytes
        b"\x00\x00\x80\x3f\x00\x00\x00\xc0",  # 1.0, -2.0
    )
)

REPLY = b"".join(
    (
        b"\x0a\x04tiny",  # 1 model_name
        b"\x12\x011",  # 2 model_version
        b"\x1a\x23" + ID,  # 3 id
        b"\x22\x18",  # 4 parameters
        b"\x0a\x12splitlab_bodies_us",
        b"\x12\x02\x10\x07",  # InferParameter, 2 int64_param
        b"\x2a\x14",  # 5 outputs
        b"\x0a\x08output_0",
        b"\x12\x04BF16",
        b"\x1a\x02\x01\x01",
        b"\x32\x02\x40\x40",  # 6 raw_output_contents: 3.0 as BF16
    )
)


def test_a_request_is_these_bytes() -> None:
    request = Request(
        model_name="tiny",
        message_id=ID.decode(),
        tensors=tuple(encode(torch.tensor([[1.0, -2.0]]), "FP32")),
        outputs=("output_0",),
        parameters={DIGEST: "abcdef"},
    )
    assert request.to_bytes() == REQUEST
    assert Request.from_bytes(REQUEST) == request
    assert request.digest == "abcdef"
    assert torch.equal(decode(request.tensors), torch.tensor([[1.0, -2.0]]))


def test_a_reply_is_these_bytes() -> None:
    reply = Reply(
        model_name="tiny",
        message_id=ID.decode(),
        tensors=tuple(encode(torch.tensor([[3.0]]), "BF16", "output_0")),
        parameters={"splitlab_bodies_us": 7},
    )
    assert reply.to_bytes() == REPLY
    assert Reply.from_bytes(REPLY) == reply


def test_equal_requests_give_equal_bytes_whatever_the_order_of_parameters() -> None:
    one = Request("m", "i", (), parameters={"a": 1, "b": True, "c": 2.5, "d": "x"})
    two = Request("m", "i", (), parameters={"d": "x", "c": 2.5, "b": True, "a": 1})
    assert one.to_bytes() == two.to_bytes()
    assert dict(Request.from_bytes(one.to_bytes()).parameters) == dict(one.parameters)


def test_a_stream_carries_replies_and_errors() -> None:
    assert from_stream(Reply.from_bytes(REPLY).to_bytes(streamed=True)) == (
        "",
        Reply.from_bytes(REPLY),
    )
    error, reply = from_stream(stream_error("no", "id-1"))
    assert (error, reply.message_id) == ("no", "id-1")


@pytest.mark.parametrize("raw", [b"\xff\xff\xff", REQUEST[:-3], b"\x0a\x02\xff\xfe"])
def test_bytes_that_are_no_request_are_refused(raw: bytes) -> None:
    with pytest.raises(BadInput, match="not a ModelInferRequest"):
        Request.from_bytes(raw)


def test_raw_contents_must_be_one_for_each_input() -> None:
    message = pb.ModelInferRequest.FromString(REQUEST)
    message.raw_input_contents.append(b"")
    with pytest.raises(BadInput, match="1 inputs have 2 raw contents"):
        Request.from_bytes(message.SerializeToString())
    del message.raw_input_contents[:]
    with pytest.raises(BadInput, match="1 inputs have 0 raw contents"):
        Request.from_bytes(message.SerializeToString())


class Unread:
    """In the place of protobuf's message: whoever parses with it has lost."""

    def ParseFromString(self, _: bytes) -> None:  # noqa: N802
        raise AssertionError("protobuf was given the message")


@pytest.mark.parametrize("field", [4, 5, 6, 7], ids=["parameters", "inputs", "outputs", "raw"])
def test_a_mebibyte_of_empty_fields_never_reaches_protobuf(
    field: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made into objects it would be 70 MiB."""
    monkeypatch.setattr(pb, "ModelInferRequest", Unread)
    monkeypatch.setattr(pb, "ModelInferResponse", Unread)
    raw = bytes([field << 3 | 2, 0]) * (1 << 19)
    with pytest.raises(BadInput, match=f"has field {field} more than"):
        Request.from_bytes(raw)
    with pytest.raises(BadInput, match=f"has field {field} more than"):
        Reply.from_bytes(raw)
    with pytest.raises(BadInput, match=f"has field {field} more than"):
        from_stream(join(b"", STREAM_REPLY, [raw]))
    with pytest.raises(BadInput, match="are not a ModelInferRequest"):
        Request.from_bytes(b"\x7b\x7c" + raw)  # behind a group, which is not counted through


def parameters_of_a_tensor(count: int) -> pb.ModelInferRequest:
    message = pb.ModelInferRequest()
    tensor = message.inputs.add(name="feature", datatype="FP32", shape=[1])
    for number in range(count):
        tensor.parameters[f"{number:x}"].bool_param = True
    return message


def bytes_of_a_tensor(count: int) -> pb.ModelInferRequest:
    message = pb.ModelInferRequest()
    message.inputs.add(name="feature").contents.bytes_contents.extend([b""] * count)
    return message


def dimensions_of_a_tensor(count: int) -> pb.ModelInferRequest:
    message = pb.ModelInferRequest()
    message.inputs.add(name="feature", shape=[1] * count)
    return message


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (parameters_of_a_tensor, "field 4 more than 64 times"),
        (bytes_of_a_tensor, "field 8 more than 64 times"),
        (dimensions_of_a_tensor, "bytes of names, shapes and parameters; give at most 65536"),
    ],
)
def test_what_is_many_inside_a_tensor_never_reaches_protobuf(
    made: Callable[[int], pb.ModelInferRequest], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = made(100_000).SerializeToString()
    monkeypatch.setattr(pb, "ModelInferRequest", Unread)
    monkeypatch.setattr(pb, "ModelInferResponse", Unread)
    with pytest.raises(BadInput, match=words):
        Request.from_bytes(raw)
    with pytest.raises(BadInput, match=words):
        Reply.from_bytes(raw)


def test_a_request_may_ask_for_every_declared_output() -> None:
    names = tuple(f"output_{number}" for number in range(1000))
    raw = Request("m", "i", (), outputs=names).to_bytes()
    assert Request.from_bytes(raw).outputs == names
    assert Request.from_bytes(raw, outputs=1000).outputs == names
    with pytest.raises(BadInput, match="has field 6 more than 999 times"):
        Request.from_bytes(raw, outputs=999)
    few = Request("m", "i", (), outputs=names[:9]).to_bytes()
    assert Request.from_bytes(few, outputs=1).outputs == names[:9]  # whose words are the handler's


def test_a_reply_may_hold_every_body_s_output() -> None:
    tensors = tuple(WireTensor(f"output_{n}", "FP32", (1, 1), b"abcd") for n in range(1000))
    raw = Reply("m", "i", tensors).to_bytes()
    assert Reply.from_bytes(raw).tensors == tensors
    assert from_stream(join(b"", STREAM_REPLY, [raw]))[1].tensors == tensors


def test_a_shape_has_a_few_dimensions() -> None:
    tensor = WireTensor("feature", "FP32", (1,) * 1000, b"abcd")
    with pytest.raises(BadInput, match="an input has more than 16 dimensions"):
        Request.from_bytes(Request("m", "i", (tensor,)).to_bytes())


def test_a_reply_in_two_parts_is_merged_as_protobuf_does() -> None:
    raw = join(b"", STREAM_REPLY, [REPLY[:6]]) + join(b"", STREAM_REPLY, [REPLY[6:]])
    assert pb.ModelStreamInferResponse.FromString(raw).infer_response.id == ID.decode()
    assert from_stream(raw) == ("", Reply.from_bytes(REPLY))


def typed(datatype: str, **contents: list[float]) -> bytes:
    message = pb.ModelInferRequest()
    tensor = message.inputs.add(name="feature", datatype=datatype, shape=[1, 2])
    for field, values in contents.items():
        getattr(tensor.contents, field).extend(values)
    return message.SerializeToString()


def test_typed_contents_are_read_too() -> None:
    request = Request.from_bytes(typed("FP32", fp32_contents=[1.0, -2.0]))
    assert torch.equal(decode(request.tensors), torch.tensor([[1.0, -2.0]]))
    assert Request.from_bytes(typed("INT8", int_contents=[-128, 127])).tensors == (
        WireTensor("feature", "INT8", (1, 2), b"\x80\x7f"),
    )
    many = Request.from_bytes(typed("FP32", fp32_contents=[0.5] * 100_000)).tensors[0].data
    assert bytes(many) == np.full(100_000, 0.5, "<f4").tobytes()
    with pytest.raises(BadInput, match="beyond INT8"):
        Request.from_bytes(typed("INT8", int_contents=[0, 128]))
    with pytest.raises(BadInput, match="FP16 must come as raw contents"):
        Request.from_bytes(typed("FP16", fp32_contents=[1.0]))


def test_ids_are_random_and_come_apart_again() -> None:
    first, second = new_request_id(), new_request_id()
    assert first != second
    assert split_message_id(message_id(first, 48)) == (first, 48)
    assert split_message_id("another client's-7") == ("another client's-7", 0)
    assert split_message_id("") == ("", 0)


def test_ids_under_a_secret_repeat_and_depend_on_it() -> None:
    from splitlab.randomness import Secret

    ids = {new_request_id(Secret.new(seed), "turn", n) for seed in (1, 2) for n in (0, 1)}
    assert len(ids) == 4
    assert new_request_id(Secret.new(1), "turn", 0) in ids
    assert all(split_message_id(message_id(each, 0)) == (each, 0) for each in ids)
