"""A server half as a model repository of Triton or KServe, so that the same edge client asks them.

One ONNX graph holds all bodies and takes what the wire carries: FP32, FP16, or INT8 with its scale
and zero point, which the graph's own nodes put together again. What comes back is what our server
answers. Triton's ONNX backend has no BF16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from cloud_server.engines.choose import example_of
from cloud_server.engines.contract import Unfit
from cloud_server.engines.onnx_graph import BodiesAsOne, onnx_graph
from cloud_server.half import ServedHalf
from splitlab.contracts import FeatureSpec
from splitlab.errors import BadInput, Corrupt
from splitlab.split.proof import relative_error
from splitlab.storage import require_writable, write_bytes
from splitlab.wire import decode, encode, reply_datatype
from splitlab.wire.int8 import parameter_columns

TOLERANCE = {"FP32": 1e-4, "INT8": 1e-4, "FP16": 2e-3}
"""Largest error against the bodies themselves, max|delta| / max|y|; FP16 outputs are rounded."""
TYPES = {"FP32": "TYPE_FP32", "FP16": "TYPE_FP16", "INT8": "TYPE_INT8"}
ROWS = 3
"""Of the feature that both are given; another number than the graph was traced with."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        folder: of the model inside the repository.
        error: of ONNX Runtime's outputs against the bodies'.
    """

    folder: Path
    outputs: tuple[str, ...]
    error: float


class OnTheWire(nn.Module):
    """From what the wire carries to what it carries back."""

    def __init__(self, bodies: Sequence[nn.Module], wire: str, feature: FeatureSpec) -> None:
        super().__init__()
        self.together, self.wire = BodiesAsOne(bodies), wire
        columns = parameter_columns(feature.shape)
        last = columns > 1 and feature.channel_axis == -1
        between = [1] * (len(feature.shape) - 1)
        self.spread = [*between, columns] if last else [columns, *between]
        self.eval()

    def forward(
        self, feature: Tensor, scale: Tensor | None = None, zero_point: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        values = feature.float()
        if scale is not None and zero_point is not None:
            values = values - zero_point.reshape(-1, *self.spread)
            values = values * scale.reshape(-1, *self.spread)
        outputs = self.together(values)
        return tuple(y.half() for y in outputs) if self.wire == "FP16" else outputs


def export_triton(half: ServedHalf, repository: Path) -> Exported:
    """Write `repository/<model>/config.pbtxt` and `1/model.onnx`, and compare it with the bodies.

    Raises:
        BadInput: a wire or network that Triton's ONNX backend cannot take, packages that are not
            installed, or a repository that has this model.
        Corrupt: the graph gives something else than the bodies.
        StorageFull: no space left.
    """
    if half.wire not in TYPES:
        raise BadInput(
            f"the deployment's wire is {half.wire}, which Triton's ONNX backend does not take; "
            f"make one with {', '.join(TYPES)}"
        )
    folder = repository / half.model_name
    if folder.exists():
        raise BadInput(f"{folder} exists; choose another --out, or remove it")
    require_writable(repository)
    sample = example_of(half.feature.shape, ROWS)
    tensors = {tensor.name: tensor for tensor in encode(sample, half.wire)}
    examples = {name: _as_tensor(tensor) for name, tensor in tensors.items()}
    names = tuple(f"output_{body}" for body in half.body_ids)
    module = OnTheWire(list(half.bodies), half.wire, half.feature)
    try:
        graph = onnx_graph(module, examples, names)
    except Unfit as unfit:
        raise BadInput(str(unfit)) from unfit
    with torch.inference_mode():
        seen = decode(list(tensors.values()))
        wanted = [body(seen) for body in half.bodies]
    error = _error(graph, examples, wanted)
    if not error <= TOLERANCE[half.wire]:
        raise Corrupt(
            folder,
            f"ONNX Runtime's outputs differ by {error:.1e} from the bodies', at most "
            f"{TOLERANCE[half.wire]:g} is allowed",
            "report the network; nothing was written",
        )
    _write(folder, graph, _config(half, examples, names))
    return Exported(folder, names, error)


def _write(folder: Path, graph: bytes, config: str) -> None:
    """Both files, or no folder; what a kill leaves beside it is in nobody's way."""
    repository = folder.parent
    repository.mkdir(parents=True, exist_ok=True)
    try:
        with TemporaryDirectory(prefix=".", suffix=".part", dir=repository) as made:
            beside = Path(made) / folder.name
            write_bytes(beside / "1" / "model.onnx", graph)
            write_bytes(beside / "config.pbtxt", config.encode())
            beside.rename(folder)
    except OSError as error:
        raise BadInput(f"{folder}: {error.strerror}; choose another --out") from error


def _as_tensor(tensor: Any) -> Tensor:
    kinds = {"FP32": torch.float32, "FP16": torch.float16, "INT8": torch.int8}
    values = torch.frombuffer(bytearray(tensor.data), dtype=kinds[tensor.datatype])
    return values.reshape(tensor.shape)


def _error(graph: bytes, examples: dict[str, Tensor], wanted: list[Tensor]) -> float:
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise BadInput(
            "onnxruntime is not installed, with which the graph is checked; "
            "pip install 'splitlab[onnxruntime]'"
        ) from error
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    found = session.run(None, {name: value.numpy() for name, value in examples.items()})
    pairs = zip(found, wanted, strict=True)
    return max(relative_error(torch.from_numpy(y).float(), x) for y, x in pairs)


def _config(half: ServedHalf, examples: dict[str, Tensor], names: Sequence[str]) -> str:
    """Triton's protobuf text; the batch is not among the dims."""

    def entry(name: str, datatype: str, shape: Sequence[int]) -> str:
        dims = ", ".join(map(str, shape))
        return f'  {{ name: "{name}" data_type: {datatype} dims: [ {dims} ] }}'

    inputs = [
        entry(name, TYPES["INT8" if value.dtype is torch.int8 else _float(value)], value.shape[1:])
        for name, value in examples.items()
    ]
    back = TYPES[reply_datatype(half.wire)]
    outputs = [entry(name, back, shape) for name, shape in zip(names, half.outputs, strict=True)]
    return "\n".join(
        (
            f'name: "{half.model_name}"',
            'platform: "onnxruntime_onnx"',
            f"max_batch_size: {half.max_rows}",
            "input [",
            ",\n".join(inputs),
            "]",
            "output [",
            ",\n".join(outputs),
            "]",
            "",
        )
    )


def _float(value: Tensor) -> str:
    return "FP16" if value.dtype is torch.float16 else "FP32"
