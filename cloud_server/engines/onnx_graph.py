"""All bodies as one ONNX graph: input `feature` [B, *shape], outputs `output_<i>`, B free."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from cloud_server.engines.contract import Unfit
from splitlab.split.folding import fold_batch_norm

LARGEST = 2**31 - 1
"""Bytes that one protobuf message may have."""


class Together(nn.Module):
    """Every body on the same feature."""

    def __init__(self, bodies: Sequence[nn.Module]) -> None:
        super().__init__()
        self.bodies = nn.ModuleList(bodies)

    def forward(self, feature: Tensor) -> tuple[Tensor, ...]:
        return tuple(body(feature) for body in self.bodies)


def missing_exporter() -> str:
    """Names of the packages that writing ONNX needs and that are not there."""
    wanted = ("onnx", "onnxscript")
    return " ".join(name for name in wanted if importlib.util.find_spec(name) is None)


def onnx_graph(
    bodies: Sequence[nn.Module], example: Tensor, names: Sequence[str] | None = None
) -> bytes:
    """Write the graph.

    Args:
        bodies: in eval mode, on the CPU; BatchNorm is folded in a copy.
        example: FP32 [B, *shape]; which B is all the same.
        names: of the outputs; default `output_0`, `output_1`, ...

    Returns:
        A serialised ModelProto with the weights inside.

    Raises:
        Unfit: the network does not export, or is larger than one message may be.
    """
    if wanted := missing_exporter():
        raise Unfit(f"ONNX needs {wanted}; pip install 'splitlab[onnxruntime]'")
    size = sum(p.numel() * p.element_size() for body in bodies for p in body.parameters())
    if size > LARGEST:
        raise Unfit(f"{size / 2**30:.1f} GiB of weights do not fit into one ONNX graph of 2 GiB")
    together = Together([fold_batch_norm(copy.deepcopy(body)) for body in bodies]).eval()
    two = (
        example[:1].expand(2, *example.shape[1:]).contiguous()
    )  # of 1 an exporter makes a constant
    with _quiet():
        try:
            program = torch.onnx.export(
                together,
                (two,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
                input_names=["feature"],
                output_names=list(names or [f"output_{i}" for i in range(len(bodies))]),
                verbose=False,
            )
        except Exception as error:  # whatever the exporter stumbles over
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise Unfit(f"this network does not export to ONNX ({first})") from error
    assert program is not None
    graph: bytes = program.model_proto.SerializeToString()
    return graph


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks; standard output belongs to the server's own events."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
