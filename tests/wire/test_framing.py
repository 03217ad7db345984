"""Messages written and cut apart by hand are protobuf's own, byte for byte."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from splitlab.errors import BadInput
from splitlab.wire import open_inference_pb2 as pb
from splitlab.wire.framing import FIELDS_AT_MOST, OF_ONE_KIND, cut, join
from splitlab.wire.messages import RAW_INPUTS, RAW_OUTPUTS

BLOBS = st.lists(st.binary(max_size=300), max_size=5)


def request(name: str, outputs: list[str], raws: list[bytes]) -> pb.ModelInferRequest:
    made = pb.ModelInferRequest(model_name=name, id="1-0")
    made.parameters["digest"].string_param = "abc"
    for output in outputs:
        made.outputs.add(name=output)
    made.inputs.add(name="feature", datatype="FP32", shape=[1, 2])
    made.raw_input_contents.extend(raws)
    return made


@given(st.text(max_size=40), st.lists(st.text(max_size=9), max_size=4), BLOBS)
def test_join_writes_what_protobuf_writes(name: str, outputs: list[str], raws: list[bytes]) -> None:
    head = request(name, outputs, []).SerializeToString(deterministic=True)
    whole = request(name, outputs, raws).SerializeToString(deterministic=True)
    assert join(head, RAW_INPUTS, raws) == whole
    assert join(head, RAW_INPUTS, [memoryview(raw) for raw in raws]) == whole
    found = cut(whole, RAW_INPUTS)
    assert found is not None
    assert found == (head, raws)


@given(BLOBS)
def test_replies_too(raws: list[bytes]) -> None:
    made = pb.ModelInferResponse(model_name="m", raw_output_contents=raws)
    whole = made.SerializeToString()
    made.ClearField("raw_output_contents")
    assert join(made.SerializeToString(), RAW_OUTPUTS, raws) == whole


@given(st.binary(max_size=400))
def test_what_is_cut_apart_is_what_protobuf_reads(raw: bytes) -> None:
    """Where both read it, they read the same; what `cut` leaves alone is protobuf's anyway."""
    found = cut(raw, RAW_INPUTS)
    whole = pb.ModelInferRequest()
    try:
        whole.ParseFromString(raw)
    except DecodeError:
        if found is not None:
            with pytest.raises(DecodeError):
                pb.ModelInferRequest().ParseFromString(found[0])
        return
    if found is not None:
        head = pb.ModelInferRequest.FromString(found[0])
        assert found[1] == list(whole.raw_input_contents)
        whole.ClearField("raw_input_contents")
        assert head == whole


def test_fields_may_stand_in_any_order() -> None:
    tag = bytes([RAW_INPUTS << 3 | 2])
    raw = tag + b"\x02ab" + b"\x0a\x01m" + tag + b"\x00" + b"\x1a\x01i"
    assert cut(raw, RAW_INPUTS) == (b"\x0a\x01m\x1a\x01i", [b"ab", b""])
    assert cut(b"", RAW_INPUTS) == (b"", [])


@pytest.mark.parametrize(
    "raw",
    [
        b"\x3a",  # a tag alone
        b"\x3a\x05ab",  # less than it says
        b"\x3a" + b"\xff" * 11,  # a length without end
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",  # a length beyond any message
        b"\x0b\x0c",  # a group
        b"\x09ab",  # eight bytes of which two are there
        b"\x08" + b"\x80" * 12,  # a number without end
    ],
)
def test_what_is_odd_is_not_taken_apart(raw: bytes) -> None:
    assert cut(raw, RAW_INPUTS) is None


@pytest.mark.parametrize("field", [1, 5, RAW_INPUTS])
def test_a_field_may_come_so_often_and_no_more(field: int) -> None:
    one = bytes([field << 3 | 2, 0])
    assert cut(one * OF_ONE_KIND, RAW_INPUTS) is not None
    with pytest.raises(BadInput, match=f"field {field} more than {OF_ONE_KIND} times"):
        cut(one * (OF_ONE_KIND + 1), RAW_INPUTS)
    assert cut(one * 100, RAW_INPUTS, {field: 100}) is not None
    with pytest.raises(BadInput, match=f"field {field} more than 100 times"):
        cut(one * 101, RAW_INPUTS, {field: 100})


def test_all_fields_are_counted_together() -> None:
    most = {6: 2 * FIELDS_AT_MOST}
    assert cut(b"\x32\x00" * FIELDS_AT_MOST, RAW_INPUTS, most) is not None
    with pytest.raises(BadInput, match=f"more than {FIELDS_AT_MOST} fields"):
        cut(b"\x32\x00" * (FIELDS_AT_MOST + 1), RAW_INPUTS, most)
