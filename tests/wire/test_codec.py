"""The codec: what comes out is what went in, whatever the batching; what is wrong is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from splitlab.errors import BadInput, TooLarge
from splitlab.wire import DATATYPES, WireTensor, decode, encode, payload_bytes, roundtrip

SHAPES = [(4, 5, 5), (6, 6, 3), (7, 8), (9,), (5, 1, 1)]  # map, grid, tokens, vector, pooled map


def feature(shape: tuple[int, ...], rows: int = 3) -> torch.Tensor:
    source = torch.Generator().manual_seed(1)
    return torch.randn(rows, *shape, generator=source) * 10


@pytest.mark.parametrize("shape", SHAPES)
def test_fp32_is_exact(shape: tuple[int, ...]) -> None:
    z = feature(shape)
    assert torch.equal(roundtrip(z, "FP32"), z)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("datatype", "torch_type"), [("FP16", torch.float16), ("BF16", torch.bfloat16)]
)
def test_halves_are_torch_s_own(
    shape: tuple[int, ...], datatype: str, torch_type: torch.dtype
) -> None:
    z = feature(shape)
    assert torch.equal(roundtrip(z, datatype), z.to(torch_type).float())


@pytest.mark.parametrize("shape", SHAPES)
def test_int8_error_is_at_most_half_a_level_of_its_channel(shape: tuple[int, ...]) -> None:
    z = feature(shape)
    if len(shape) == 3 and shape[0] != shape[1]:
        axes: tuple[int, ...] = (2, 3)
    elif len(shape) > 1:
        axes = tuple(range(1, z.dim() - 1))
    else:
        axes = (1,)
    if shape == (5, 1, 1):
        axes = (1, 2, 3)
    span = z.amax(axes, keepdim=True) - z.amin(axes, keepdim=True)
    assert bool(((roundtrip(z, "INT8") - z).abs() <= span / 255 * 0.501).all())


def test_int8_keeps_zeros_after_relu_and_constant_channels_exactly() -> None:
    z = feature((4, 5, 5)).relu()
    z[:, 2] = 3.25
    back = roundtrip(z, "INT8")
    assert bool((back[z == 0] == 0).all())
    assert torch.equal(back[:, 2], z[:, 2])


def test_int8_survives_extreme_values() -> None:
    z = torch.zeros(1, 3, 2, 2)
    z[0, 0] = torch.tensor([[-3e38, 3e38], [0, 1]])
    z[0, 1] = torch.tensor([[1e6, 1e6 + 1], [1e6 + 0.5, 1e6]])
    z[0, 2] = torch.tensor([[1e-44, 0], [2e-44, 0]])
    back = roundtrip(z, "INT8")
    assert float((back[0, 0] - z[0, 0]).abs().max()) <= 6e38 / 255 * 0.51
    assert float((back[0, 1] - z[0, 1]).abs().max()) <= 1e6 / 2**16
    assert float((back[0, 2] - z[0, 2]).abs().max()) <= 1e-40


@pytest.mark.parametrize("datatype", list(DATATYPES))
@pytest.mark.parametrize("shape", SHAPES)
def test_decoding_does_not_depend_on_the_batching(shape: tuple[int, ...], datatype: str) -> None:
    z = feature(shape, rows=5)
    apart = torch.cat([roundtrip(part, datatype) for part in z.split(2)])
    assert torch.equal(roundtrip(z, datatype), apart)


@pytest.mark.parametrize("datatype", list(DATATYPES))
@pytest.mark.parametrize("shape", SHAPES)
def test_payload_bytes_is_what_is_sent(shape: tuple[int, ...], datatype: str) -> None:
    sent = sum(len(tensor.data) for tensor in encode(feature(shape, rows=4), datatype))
    assert sent == 4 * payload_bytes(shape, datatype)


def test_bytes_are_little_endian_and_row_major() -> None:
    z = torch.tensor([[1.0, -2.0]])
    assert encode(z, "FP32")[0].data == bytes.fromhex("0000803f 000000c0")
    assert encode(z, "FP16")[0].data == bytes.fromhex("003c 00c0")
    assert encode(z, "BF16")[0].data == bytes.fromhex("803f 00c0")
    whole, scale, zero_point = encode(torch.tensor([[0.0, 255.0]]), "INT8")
    assert whole.data == b"\x80\x7f"
    assert scale.shape == (1, 1)
    assert scale.data == bytes.fromhex("0000803f")
    assert zero_point.data == bytes.fromhex("000000c3")  # -128


def test_a_decoded_feature_may_be_written_into() -> None:
    for datatype in DATATYPES:
        roundtrip(feature((4, 5, 5)), datatype).zero_()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("datatype", list(DATATYPES))
def test_nan_and_inf_are_refused_before_sending(datatype: str, value: float) -> None:
    z = feature((4, 5, 5))
    z[1, 2, 3, 4] = value
    with pytest.raises(BadInput, match="NaN or Inf"):
        encode(z, datatype)


def test_opposite_infinities_do_not_cancel_and_large_sums_are_no_infinity() -> None:
    with pytest.raises(BadInput, match="NaN or Inf"):
        encode(torch.tensor([[float("inf"), float("-inf")]]), "FP32")
    z = torch.full((1, 8), 3e38)
    assert torch.equal(roundtrip(z, "FP32"), z)


def test_a_value_beyond_fp16_is_refused_with_a_remedy() -> None:
    with pytest.raises(BadInput, match=r"70000, beyond FP16's 65504; use a deployment with wire"):
        encode(torch.tensor([[7e4]]), "FP16")


def fp32(name: str = "feature", shape: tuple[int, ...] = (2, 3)) -> WireTensor:
    return WireTensor(name, "FP32", shape, np.ones(shape, dtype="<f4").tobytes())


DECLARED = {"datatype": "FP32", "shape": (3,), "max_rows": 2}


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ([], "'feature' is missing; the message holds: none"),
        ([fp32("picture")], "'feature' is missing; the message holds: picture"),
        ([fp32(), fp32()], "one name"),
        ([dataclasses.replace(fp32(), datatype="FP16")], "came as FP16, FP32 was wanted"),
        ([fp32(shape=(2, 4))], r"shape \[2, 4\]"),
        ([fp32(shape=(6,))], r"shape \[6\]"),
        ([WireTensor("feature", "FP32", (), b"")], r"shape \[\]"),
        ([WireTensor("feature", "FP32", (0, 3), b"")], "at least 1"),
        ([WireTensor("feature", "FP32", (-1, 3), b"")], "at least 1"),
        ([dataclasses.replace(fp32(), data=b"\0" * 23)], "23 bytes, 24 were wanted"),
        ([dataclasses.replace(fp32(), data=b"\0" * 25)], "25 bytes, 24 were wanted"),
        ([dataclasses.replace(fp32(), data=b"\xff" * 24)], "NaN or Inf"),
    ],
)
def test_what_was_not_declared_is_refused(tensors: list[WireTensor], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        decode(tensors, **DECLARED)


def test_too_many_rows_are_another_error() -> None:
    with pytest.raises(TooLarge, match="3 rows, at most 2"):
        decode([fp32(shape=(3, 3))], **DECLARED)


def test_a_huge_shape_is_refused_without_being_allocated() -> None:
    with pytest.raises(BadInput, match="were wanted"):
        decode([WireTensor("feature", "FP32", (2**40, 2**20), b"\0" * 8)])


def test_unknown_datatypes_are_refused() -> None:
    with pytest.raises(BadInput, match="'FP64' is not carried"):
        encode(torch.ones(1, 2), "FP64")
    with pytest.raises(BadInput, match="'BYTES' is not carried"):
        decode([WireTensor("feature", "BYTES", (1, 2), b"ab")])


def int8(**changes: WireTensor) -> list[WireTensor]:
    tensors = {tensor.name: tensor for tensor in encode(feature((4, 5, 5)), "INT8")}
    return list({**tensors, **changes}.values())


@pytest.mark.parametrize(
    ("name", "tensor", "words"),
    [
        ("feature_scale", fp32("other"), "'feature_scale' is missing"),
        ("feature_scale", fp32("feature_scale", (3, 5)), r"FP32 \[3, 4\] was wanted"),
        (
            "feature_scale",
            WireTensor("feature_scale", "FP32", (3, 4), bytes(48)),
            "not above zero",
        ),
        (
            "feature_zero_point",
            WireTensor("feature_zero_point", "FP32", (3, 4), b"\xff" * 48),
            "NaN or Inf",
        ),
        (
            "feature_scale",
            WireTensor("feature_scale", "FP32", (3, 4), np.full(12, 3e38, dtype="<f4").tobytes()),
            "NaN or Inf",
        ),
    ],
)
def test_int8_parameters_are_checked(name: str, tensor: WireTensor, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        decode(int8(**{name: tensor}))
