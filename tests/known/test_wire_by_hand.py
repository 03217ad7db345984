"""Bytes on the wire, byte by byte, for every datatype."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import torch
from torch import Tensor

from splitlab.errors import BadInput, TooLarge
from splitlab.wire import WireTensor, decode, encode, payload_bytes
from splitlab.wire.codec import item_bytes, micro_batch_rows, reply_datatype
from splitlab.wire.int8 import dequantise, parameter_columns, quantise

VALUES = [1.0, -2.0, 0.5, 65504.0]
LITERAL = {
    "FP32": "0000803f 000000c0 0000003f 00e07f47",
    "FP16": "003c 00c0 0038 ff7b",
    "BF16": "803f 00c0 003f 8047",
}


@pytest.mark.parametrize("datatype", list(LITERAL))
def test_literal_bytes_both_ways(datatype: str) -> None:
    (tensor,) = encode(torch.tensor([VALUES[:2], VALUES[2:]]), datatype, "y")
    raw = bytes.fromhex(LITERAL[datatype])
    assert bytes(tensor.data) == raw
    assert (tensor.name, tensor.datatype, tensor.shape) == ("y", datatype, (2, 2))
    back = decode([WireTensor("feature", datatype, (2, 2), raw)])
    wanted = torch.tensor([VALUES[:2], VALUES[2:]])
    if datatype == "BF16":
        wanted[1, 1] = 65536  # eight bits of mantissa
    assert torch.equal(back, wanted)
    assert back.dtype == torch.float32


def test_int8_literal_bytes_of_two_rows_and_two_channels() -> None:
    """Channel [0, 255] has scale 1 and zero point -128; [-51, 204] the same scale, -77."""
    z = torch.tensor([[[[0.0, 255.0]], [[-51.0, 204.0]]], [[[0.0, 510.0]], [[7.0, 7.0]]]])
    whole, scale, zero = encode(z, "INT8", "y")
    assert [t.name for t in (whole, scale, zero)] == ["y", "y_scale", "y_zero_point"]
    assert [t.datatype for t in (whole, scale, zero)] == ["INT8", "FP32", "FP32"]
    assert [t.shape for t in (whole, scale, zero)] == [(2, 2, 1, 2), (2, 2), (2, 2)]
    assert bytes(whole.data)[:6] == b"\x80\x7f\x80\x7f\x80\x7f"
    scales = struct.unpack("<4f", bytes(scale.data))
    zeros = struct.unpack("<4f", bytes(zero.data))
    assert scales[:3] == (1, 1, 2)
    assert zeros[:3] == (-128, -77, -128)
    assert scales[3] == pytest.approx(7 / 2**16)  # far from zero: wider levels
    back = decode(encode(z, "INT8", "feature"))
    assert torch.allclose(back, z, atol=1e-3)


def test_int8_from_literal_bytes() -> None:
    """(q - zero point) * scale: (2 - 1) * 0.5, (-3 - 1) * 0.5, (4 - 0) * 2, (127 - 0) * 2."""
    tensors = [
        WireTensor("y", "INT8", (2, 2), struct.pack("<4b", 2, -3, 4, 127)),
        WireTensor("y_scale", "FP32", (2, 1), struct.pack("<2f", 0.5, 2)),
        WireTensor("y_zero_point", "FP32", (2, 1), struct.pack("<2f", 1, 0)),
    ]
    assert decode(tensors, name="y").tolist() == [[0.5, -2], [8, 254]]
    tokens = [
        WireTensor("y", "INT8", (1, 2, 3), bytes(range(6))),
        WireTensor("y_scale", "FP32", (1, 3), struct.pack("<3f", 1, 10, 100)),
        WireTensor("y_zero_point", "FP32", (1, 3), struct.pack("<3f", 0, 0, 5)),
    ]
    assert decode(tokens, name="y").tolist() == [[[0, 10, -300], [3, 40, 0]]]


@pytest.mark.parametrize(
    ("shape", "columns", "size"),
    [
        ((4, 5, 6), 4, 120),
        ((6, 6, 3), 3, 108),
        ((7, 8), 8, 56),
        ((9,), 1, 9),
        ((5, 1, 1), 1, 5),
    ],
)
def test_sizes_by_hand(shape: tuple[int, ...], columns: int, size: int) -> None:
    assert parameter_columns(shape) == columns
    assert payload_bytes(shape, "FP32") == 4 * size
    assert payload_bytes(shape, "FP16") == payload_bytes(shape, "BF16") == 2 * size
    assert payload_bytes(shape, "INT8") == size + 8 * columns


def test_a_micro_batch_is_about_a_mebibyte() -> None:
    assert micro_batch_rows((1024,), "FP32") == 256
    assert micro_batch_rows((1024,), "FP16") == 512
    assert micro_batch_rows((1000,), "FP32") == 262  # and 576 bytes are left over
    assert micro_batch_rows((1024,), "FP32", 100) == 100
    assert micro_batch_rows((1024,), "FP32", 1000) == 256
    assert micro_batch_rows((1 << 20,), "FP32") == 1
    assert micro_batch_rows((1 << 20,), "FP32", 7) == 1


def test_outputs_of_int8_travel_whole() -> None:
    assert [reply_datatype(w) for w in ("FP32", "FP16", "BF16", "INT8")] == [
        "FP32",
        "FP16",
        "BF16",
        "FP32",
    ]
    assert [item_bytes(w) for w in ("FP32", "FP16", "BF16", "INT8")] == [4, 2, 2, 1]
    with pytest.raises(BadInput, match="'FP64' is not carried; give one of FP32, FP16, BF16, INT8"):
        item_bytes("FP64")


def test_what_is_sent_need_be_neither_float32_nor_contiguous_nor_free_of_a_graph() -> None:
    z = torch.arange(12.0).view(3, 4)
    assert torch.equal(decode(encode(z.t(), "FP32")), z.t())
    assert torch.equal(decode(encode(z.double(), "FP32")), z)
    assert torch.equal(
        decode(encode(z.clone().requires_grad_(), "INT8")), decode(encode(z, "INT8"))
    )
    assert torch.equal(decode(encode(z.half(), "FP16")), z)
    assert torch.equal(decode(encode(z.bfloat16(), "FP32")), z)


def test_fp32_is_a_view_and_a_decoded_feature_is_not() -> None:
    z = torch.zeros(1, 2)
    sent = encode(z, "FP32")
    z[0, 0] = 1
    back = decode(sent)
    z[0, 0] = 2
    assert float(back[0, 0]) == 1


@pytest.mark.parametrize(
    ("value", "words"), [(7e4, "FP16's 65504"), (-7e4, "reaches 70000"), (65520.0, "65504")]
)
def test_beyond_a_half_is_refused(value: float, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        encode(torch.tensor([[0.0, value]]), "FP16")
    encode(torch.tensor([[0.0, value]]), "BF16")


def test_beyond_a_brain_float_is_refused() -> None:
    with pytest.raises(BadInput, match=r"beyond BF16's 3.39e\+38"):
        encode(torch.tensor([[3.4e38]]), "BF16")


def test_the_name_of_what_is_refused_is_said() -> None:
    for name in ("feature", "output_3"):
        with pytest.raises(BadInput, match=f"^{name} holds NaN or Inf"):
            encode(torch.tensor([[float("nan")]]), "FP32", name)


def sent(z: Tensor, datatype: str = "FP32") -> list[WireTensor]:
    return encode(z, datatype)


def test_declared_rows_are_a_limit_and_no_demand() -> None:
    z = torch.ones(3, 2)
    assert len(decode(sent(z), max_rows=3)) == 3
    assert len(decode(sent(z), max_rows=9)) == 3
    with pytest.raises(TooLarge):
        decode(sent(z), max_rows=2)
    assert torch.equal(decode(sent(z), shape=(2,), datatype="FP32"), z)
    for wrong in ({"shape": (3,)}, {"shape": (2, 1)}, {"shape": ()}, {"datatype": "INT8"}):
        with pytest.raises(BadInput):
            decode(sent(z), **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("missing", ["feature_scale", "feature_zero_point", "feature"])
def test_every_tensor_of_int8_is_wanted(missing: str) -> None:
    tensors = [t for t in sent(torch.rand(2, 3, 4), "INT8") if t.name != missing]
    with pytest.raises(BadInput, match=f"'{missing}' is missing"):
        decode(tensors)


@pytest.mark.parametrize("name", ["feature_scale", "feature_zero_point"])
@pytest.mark.parametrize(
    ("shape", "datatype", "data"),
    [
        ((2, 4), "FP16", bytes(16)),
        ((2, 3), "FP32", bytes(24)),
        ((1, 4), "FP32", bytes(16)),
        ((2, 4), "FP32", bytes(28)),
        ((2, 4), "FP32", np.full(8, np.inf, dtype="<f4").tobytes()),
    ],
)
def test_parameters_of_int8_are_checked(
    name: str, shape: tuple[int, ...], datatype: str, data: bytes
) -> None:
    good = {t.name: t for t in sent(torch.rand(2, 3, 4), "INT8")}
    assert tuple(decode(list(good.values())).shape) == (2, 3, 4)
    bad = {**good, name: WireTensor(name, datatype, shape, data)}
    with pytest.raises(BadInput, match=name):
        decode(list(bad.values()))


@pytest.mark.parametrize("scale", [0.0, -1.0])
def test_a_scale_is_above_zero(scale: float) -> None:
    tensors = [
        WireTensor("feature", "INT8", (1, 2), b"ab"),
        WireTensor("feature_scale", "FP32", (1, 1), struct.pack("<f", scale)),
        WireTensor("feature_zero_point", "FP32", (1, 1), struct.pack("<f", 0)),
    ]
    with pytest.raises(BadInput, match="not above zero"):
        decode(tensors)


def test_a_level_is_a_255th_of_the_channel_and_half_of_it_rounds() -> None:
    values = np.array([[0.0, 0.49, 0.51, 255.0]], dtype=np.float32)
    whole, scale, zero = quantise(values)
    assert (whole.dtype, scale.dtype, zero.dtype) == (np.int8, np.float32, np.float32)
    assert whole.tolist() == [[-128, -128, -127, 127]]
    assert dequantise(whole, scale, zero).tolist() == [[0, 0, 1, 255]]
    below, scale, zero = quantise(np.array([[-255.0, 0.0]], dtype=np.float32))
    assert (below.tolist(), scale.tolist(), zero.tolist()) == ([[-128, 127]], [[1]], [[127]])


def test_a_channel_of_one_value_has_a_level_of_its_own_size() -> None:
    """|x| / 65536, or 1 where all is zero."""
    for value in (7.0, -7.0):
        whole, scale, zero = quantise(np.full((1, 3), value, dtype=np.float32))
        assert scale.tolist() == [[pytest.approx(7 / 2**16)]]
        assert set(whole.flatten().tolist()) == {-128}
        assert dequantise(whole, scale, zero).tolist() == [[value] * 3]
    whole, scale, zero = quantise(np.zeros((1, 3), dtype=np.float32))
    assert (scale.tolist(), zero.tolist()) == ([[1]], [[-128]])


def test_scales_too_small_for_a_float_are_one() -> None:
    tiny = np.array([[0.0, 1e-44]], dtype=np.float32)
    whole, scale, _ = quantise(tiny)
    assert (scale.tolist(), whole.tolist()) == ([[1]], [[-128, -128]])
    edge = np.finfo(np.float32).tiny
    whole, scale, _ = quantise(np.array([[0.0, 255 * edge]], dtype=np.float32))
    assert (scale.tolist(), whole.tolist()) == ([[edge]], [[-128, 127]])


def test_two_channels_at_the_end_have_two_scales() -> None:
    """Tokens [T, 2]: the channel is the last axis however few there are."""
    tokens = np.array([[[0.0, 0.0], [255.0, 510.0], [51.0, 102.0]]], dtype=np.float32)
    whole, scale, zero = quantise(tokens)
    assert (scale.tolist(), zero.tolist()) == ([[1, 2]], [[-128, -128]])
    assert whole.tolist() == [[[-128, -128], [127, 127], [-77, -77]]]
    assert dequantise(whole, scale, zero).tolist() == tokens.tolist()


def test_a_refusal_says_what_was_wanted() -> None:
    flat = WireTensor("feature", "FP32", (), b"")
    with pytest.raises(BadInput, match=r"shape \[\], \['B', '...'\] was wanted"):
        decode([flat])
    with pytest.raises(BadInput, match=r"shape \[2, 3\], \['B', 4, 5\] was wanted"):
        decode(sent(torch.ones(2, 3)), shape=(4, 5))
    names = [WireTensor(name, "FP32", (1, 1), bytes(4)) for name in ("b", "a")]
    with pytest.raises(BadInput, match=r"'feature' is missing; the message holds: a, b$"):
        decode(names)
    with pytest.raises(BadInput, match=r"the message holds: none$"):
        decode([])
