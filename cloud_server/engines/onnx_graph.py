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


class BodiesAsOne(nn.Module):
    """Every body, with BatchNorm folded in a copy, on the same feature."""

    def __init__(self, bodies: Sequence[nn.Module]) -> None:
        super().__init__()
        self.bodies = nn.ModuleList([fold_batch_norm(copy.deepcopy(body)) for body in bodies])
        self.eval()

    def forward(self, feature: Tensor) -> tuple[Tensor, ...]:
        return tuple(body(feature) for body in self.bodies)


def missing_exporter() -> str:
    """Names of the packages that writing ONNX needs and that are not there."""
    wanted = ("onnx", "onnxscript")
    return " ".join(name for name in wanted if importlib.util.find_spec(name) is None)


def bodies_graph(bodies: Sequence[nn.Module], example: Tensor) -> bytes:
    """The graph of FP32 bodies.

    Args:
        bodies: in eval mode, on the CPU.
        example: FP32 [B, *shape]; which B is all the same.

    Raises:
        Unfit: see `onnx_graph`.
    """
    names = [f"output_{i}" for i in range(len(bodies))]
    return onnx_graph(BodiesAsOne(bodies), {"feature": example}, names)


def onnx_graph(module: nn.Module, examples: dict[str, Tensor], outputs: Sequence[str]) -> bytes:
    """Write a graph whose every input and output has a free first axis.

    Args:
        module: takes the examples in their order and gives a tuple; eval mode, on the CPU.
        examples: name of an input -> a tensor such as it is given, with a row or more.
        outputs: names.

    Returns:
        A serialised ModelProto with the weights inside.

    Raises:
        Unfit: the network does not export, or is larger than one message may be.
    """
    if wanted := missing_exporter():
        raise Unfit(f"ONNX needs {wanted}; pip install 'splitlab[onnxruntime]'")
    size = sum(p.numel() * p.element_size() for p in module.parameters())
    if size > LARGEST:
        raise Unfit(f"{size / 2**30:z.1f} GiB of weights do not fit into one ONNX graph of 2 GiB")
    # one row would become a constant of the graph
    two = tuple(x[:1].expand(2, *x.shape[1:]).contiguous() for x in examples.values())
    with _quiet():
        try:
            program = torch.onnx.export(
                module,
                two,
                dynamo=True,
                dynamic_shapes=tuple({0: torch.export.Dim.DYNAMIC} for _ in two),
                input_names=list(examples),
                output_names=list(outputs),
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
