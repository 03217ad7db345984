"""Tensors to bytes and back: little endian, row-major, no padding, nothing is ever unpickled.

| datatype | bytes a value | tensors on the wire |
|---|---|---|
| FP32, FP16, BF16 | 4, 2, 2 | `feature` [B, *shape] |
| INT8 | 1 | `feature`, and FP32 `feature_scale` and `feature_zero_point`, both [B, channels] |

Every value is encoded on its own row's terms, so decoding does not depend on how rows were put
together into micro-batches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from splitlab.errors import BadInput, TooLarge, foreign
from splitlab.wire.framing import Buffer
from splitlab.wire.int8 import dequantise, parameter_columns, quantise

DATATYPES: dict[str, int] = {"FP32": 4, "FP16": 2, "BF16": 2, "INT8": 1}
LARGEST: dict[str, float] = {"FP32": 3.4e38, "FP16": 65504.0, "BF16": 3.39e38}
MICRO_BATCH_BYTES = 1 << 20
"""About what a message carries: head, network and bodies overlap, each part has its own status."""


@dataclass(frozen=True)
class WireTensor:
    """One named tensor as it stands in a message; `data` is its raw contents, or a view of them
    where they lie: in the message, or in the tensor that is sent.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Buffer = field(repr=False)


def payload_bytes(shape: tuple[int, ...], datatype: str) -> int:
    """Raw contents of one image's feature of `shape` (without the batch), in bytes."""
    size = math.prod(shape) * item_bytes(datatype)
    return size + 2 * 4 * parameter_columns(shape) if datatype == "INT8" else size


def micro_batch_rows(shape: tuple[int, ...], datatype: str, most: int | None = None) -> int:
    """Rows of a full micro-batch: about `MICRO_BATCH_BYTES`, at least 1, at most `most`."""
    rows = MICRO_BATCH_BYTES // payload_bytes(shape, datatype)
    return max(1, rows if most is None else min(most, rows))


def reply_datatype(wire: str) -> str:
    """What outputs travel in: the wire's own type, but FP32 under INT8."""
    return "FP32" if wire == "INT8" else wire


def item_bytes(datatype: str) -> int:
    """Bytes of one value.

    Raises:
        BadInput: a datatype that the wire does not carry.
    """
    if datatype not in DATATYPES:
        known = ", ".join(DATATYPES)
        raise BadInput(f"datatype '{foreign(datatype)}' is not carried; give one of {known}")
    return DATATYPES[datatype]


def encode(feature: Tensor, datatype: str, name: str = "feature") -> list[WireTensor]:
    """[B, *shape] -> one wire tensor, or three under INT8; under FP32 a view of `feature` itself,
    which must stay as it is until the message is written.

    Raises:
        BadInput: NaN or Inf, a value beyond the datatype's range, or an unknown datatype.
    """
    item_bytes(datatype)
    values = feature.detach().to("cpu", torch.float32).contiguous()
    if not _finite(values):
        raise BadInput(f"{name} holds NaN or Inf, which the wire refuses; check what made it")
    shape = tuple(values.shape)
    if datatype == "INT8":
        whole, scale, zero_point = quantise(values.numpy())
        return [
            WireTensor(name, "INT8", shape, _view(whole)),
            WireTensor(f"{name}_scale", "FP32", scale.shape, _view(scale.astype("<f4"))),
            WireTensor(
                f"{name}_zero_point", "FP32", zero_point.shape, _view(zero_point.astype("<f4"))
            ),
        ]
    if datatype == "FP32":
        return [WireTensor(name, datatype, shape, _view(values.numpy().astype("<f4", copy=False)))]
    narrow = values.to(torch.float16 if datatype == "FP16" else torch.bfloat16)
    if not _finite(narrow):
        raise BadInput(
            f"{name} reaches {float(values.abs().max()):g}, beyond {datatype}'s "
            f"{LARGEST[datatype]:g}; use a deployment with wire FP32, or BF16 in place of FP16"
        )
    raw = narrow.view(torch.int16).numpy().astype("<i2", copy=False)
    return [WireTensor(name, datatype, shape, _view(raw))]


def decode(
    tensors: Sequence[WireTensor],
    *,
    name: str = "feature",
    datatype: str | None = None,
    shape: tuple[int, ...] | None = None,
    max_rows: int | None = None,
) -> Tensor:
    """Wire tensors -> float32 [B, *shape], a copy that may be written into.

    Args:
        tensors: all tensors of a message.
        name: which of them to decode.
        datatype, shape, max_rows: what was declared; None takes what the message says.

    Raises:
        BadInput: absent, of another datatype, shape or byte count, or NaN or Inf.
        TooLarge: more rows than `max_rows`.
    """
    found = {tensor.name: tensor for tensor in tensors}
    if len(found) != len(tensors):
        raise BadInput("two tensors of the message have one name; give each once")
    given = _pick(found, name)
    if datatype is not None and given.datatype != datatype:
        raise BadInput(f"{name} came as {foreign(given.datatype)}, {datatype} was wanted")
    if not given.shape or (shape is not None and given.shape[1:] != shape):
        wanted = ["B", *shape] if shape is not None else ["B", "..."]
        raise BadInput(f"{name} has shape {list(given.shape)}, {wanted} was wanted")
    rows = given.shape[0]
    if max_rows is not None and rows > max_rows:
        raise TooLarge(f"{name} has {rows} rows, at most {max_rows} were declared; send fewer")
    _check_bytes(given)
    if given.datatype == "INT8":
        columns = parameter_columns(given.shape[1:])
        scale = _parameter(found, f"{name}_scale", rows, columns)
        zero_point = _parameter(found, f"{name}_zero_point", rows, columns)
        if not bool((scale > 0).all()):
            raise BadInput(f"{name}_scale holds values that are not above zero")
        whole = np.frombuffer(given.data, dtype=np.int8).reshape(given.shape)
        values = dequantise(whole, scale, zero_point)
    else:
        values = _floats(given)
    decoded = torch.from_numpy(values)
    if not _finite(decoded):
        raise BadInput(f"{name} holds NaN or Inf, which the wire refuses")
    return decoded


def roundtrip(feature: Tensor, datatype: str) -> Tensor:
    """z' -> z^, on the CPU: what the receiver sees of a feature after the codec."""
    return decode(encode(feature, datatype))


def _view(values: NDArray[Any]) -> memoryview:
    """Its bytes where they lie, row-major."""
    flat: Any = np.ascontiguousarray(values).ravel().view(np.uint8)
    return memoryview(flat)


def _finite(values: Tensor) -> bool:
    """Whether there is neither NaN nor Inf. A sum is finite only where every value is, and takes
    a tenth of the time; one that overflows by itself is looked at value by value."""
    if math.isfinite(float(values.sum(dtype=torch.float32))):
        return True
    return bool(torch.isfinite(values).all())


def _pick(found: dict[str, WireTensor], name: str) -> WireTensor:
    if name not in found:
        have = foreign(", ".join(sorted(found))) or "none"
        raise BadInput(f"tensor {name!r} is missing; the message holds: {have}")
    return found[name]


def _check_bytes(given: WireTensor) -> None:
    if any(size < 1 for size in given.shape):
        raise BadInput(f"{given.name} has shape {list(given.shape)}; every size must be at least 1")
    wanted = math.prod(given.shape) * item_bytes(given.datatype)
    if len(given.data) != wanted:
        raise BadInput(
            f"{given.name} has {len(given.data)} bytes, {wanted} were wanted for "
            f"{given.datatype} {list(given.shape)}"
        )


def _parameter(
    found: dict[str, WireTensor], name: str, rows: int, columns: int
) -> NDArray[np.float32]:
    given = _pick(found, name)
    if given.datatype != "FP32" or given.shape != (rows, columns):
        raise BadInput(
            f"{name} came as {foreign(given.datatype)} {list(given.shape)}, "
            f"FP32 {[rows, columns]} was wanted"
        )
    _check_bytes(given)
    values = _floats(given)
    if not np.isfinite(values).all():
        raise BadInput(f"{name} holds NaN or Inf, which the wire refuses")
    return values


def _floats(given: WireTensor) -> NDArray[np.float32]:
    values: NDArray[Any]
    if given.datatype == "BF16":
        halves = np.frombuffer(given.data, dtype="<u2").astype(np.uint32)
        values = (halves << 16).view(np.float32)
    else:
        width = "<f4" if given.datatype == "FP32" else "<f2"
        values = np.frombuffer(given.data, dtype=width).astype(np.float32)
    return values.reshape(given.shape)
