"""The model repository for Triton: its graph answers the edge client as our own server does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import numpy as np
import onnxruntime as ort
import pytest
import torch
from deployments import deploy
from halves import FEATURE, OUTPUT, Client, Server, images
from torch import nn
from typer.testing import CliRunner

from cloud_server import triton
from cloud_server.cli import app
from cloud_server.triton import TOLERANCE, export_triton
from edge_client.client import EdgeClient
from splitlab.contracts import FeatureSpec
from splitlab.errors import BadInput, Corrupt
from splitlab.wire import open_inference_pb2 as pb
from splitlab.wire import open_inference_pb2_grpc as stubs

NUMPY = {"FP32": np.float32, "FP16": np.float16, "INT8": np.int8}


class OnnxBackend(stubs.GRPCInferenceServiceServicer):
    """As much of Triton as the edge client meets: a repository read and run with ONNX Runtime.

    No stand-in for Triton's scheduler; types and shapes are those that `config.pbtxt` states.
    """

    def __init__(self, folder: Path) -> None:
        self.config = read_config((folder / "config.pbtxt").read_text())
        self.session = ort.InferenceSession(str(folder / "1" / "model.onnx"))
        self.parameters: list[str] = []

    def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        return pb.ServerMetadataResponse(name="triton", extensions=["classification", "statistics"])

    def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.name != self.config["name"]:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown model")
        found = pb.ModelMetadataResponse(name=request.name, platform=self.config["platform"])
        for kind, into in (("input", found.inputs), ("output", found.outputs)):
            for name, datatype, dims in self.config[kind]:
                into.add(name=name, datatype=datatype, shape=[-1, *dims])
        return found

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        self.parameters += list(request.parameters)
        given = {}
        for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
            values = np.frombuffer(raw, dtype=NUMPY[tensor.datatype])
            given[tensor.name] = values.reshape(tuple(tensor.shape))
            assert tuple(tensor.shape) <= (self.config["max"], *tensor.shape[1:])
        names = [output.name for output in request.outputs]
        reply = pb.ModelInferResponse(model_name=request.model_name, id=request.id)
        kinds = {name: kind for name, kind, _ in self.config["output"]}
        for name, values in zip(names, self.session.run(names, given), strict=True):
            reply.outputs.add(name=name, datatype=kinds[name], shape=values.shape)
            reply.raw_output_contents.append(values.astype(NUMPY[kinds[name]]).tobytes())
        return reply


READ = """
import json, sys
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as schema
config = text_format.Parse(sys.stdin.read(), schema.ModelConfig())
kind = schema.DataType.Name
tensors = lambda found: [(t.name, kind(t.data_type)[5:], list(t.dims)) for t in found]
print(json.dumps({"name": config.name, "platform": config.platform, "max": config.max_batch_size,
                  "input": tensors(config.input), "output": tensors(config.output)}))
"""


def read_config(text: str) -> dict[str, Any]:
    """`config.pbtxt` through Triton's own schema, which does not go into one process with ours."""
    words = [sys.executable, "-c", READ]
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def backend() -> Iterator[Callable[[Path], tuple[OnnxBackend, str]]]:
    running = []

    def start(folder: Path) -> tuple[OnnxBackend, str]:
        made = OnnxBackend(folder)
        server = grpc.server(ThreadPoolExecutor(4))
        stubs.add_GRPCInferenceServiceServicer_to_server(made, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        running.append(server)
        return made, f"127.0.0.1:{port}"

    yield start
    for server in running:
        server.stop(None).wait()


@pytest.fixture(scope="module")
def graph() -> bytes:
    """Of the bodies of `Server()`, made once for tests that look at files alone."""
    made: list[bytes] = []
    with pytest.MonkeyPatch.context() as patched, TemporaryDirectory() as place:
        make = triton.onnx_graph
        patched.setattr(triton, "onnx_graph", lambda *given: made.append(make(*given)) or made[0])
        export_triton(Server(), Path(place))
    return made[0]


@pytest.mark.parametrize(
    ("wire", "ids"),
    [
        pytest.param("FP32", [0, 1], marks=pytest.mark.slow),
        pytest.param("FP16", [0, 1], marks=pytest.mark.slow),
        ("INT8", [0, 1]),
        ("FP32", [0, 2]),
    ],
)
def test_the_edge_client_gets_the_same_from_the_graph_and_from_our_server(
    serve: Callable[..., Any],
    backend: Callable[[Path], tuple[OnnxBackend, str]],
    tmp_path: Path,
    wire: str,
    ids: list[int],
) -> None:
    half = Server(body_ids=ids, wire=wire)
    made = export_triton(half, tmp_path)
    assert made.outputs == tuple(f"output_{body}" for body in ids)
    assert made.error <= TOLERANCE[wire]
    served, address = backend(made.folder)
    assert served.config["max"] == half.max_rows
    assert served.config["output"][0][2] == list(OUTPUT)
    assert served.config["input"][0] == ["feature", wire, list(FEATURE)]
    if ids != [0, 1]:
        return  # no client has a selector for bodies that are elsewhere

    client = Client(total=2, chosen=(0, 1), wire=wire)
    x = images(19)
    with EdgeClient(client, [address]) as through:
        given = through.infer(x, request_id="0" * 32)
    with EdgeClient(client, [serve(half).address]) as through:
        wanted = through.infer(x, request_id="0" * 32)
    error = (given.logits - wanted.logits).abs().max() / wanted.logits.abs().max()
    assert float(error) <= TOLERANCE[wire]
    assert given.payload_up == wanted.payload_up
    assert "splitlab_digest" in served.parameters


def test_int8_of_tokens_is_spread_over_the_last_axis(tmp_path: Path) -> None:
    class Tokens(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return z.mean(1)

    half = Server(wire="INT8", feature=FeatureSpec(shape=(5, 8)))
    half.bodies = nn.ModuleList([Tokens()])
    half.outputs = [(8,)]
    assert export_triton(half, tmp_path).error <= TOLERANCE["INT8"]


def test_what_cannot_be_exported_is_refused_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, graph: bytes
) -> None:
    monkeypatch.setattr(triton, "onnx_graph", lambda *_: graph)
    with pytest.raises(BadInput, match="wire is BF16, which Triton's ONNX backend does not take"):
        export_triton(Server(wire="BF16"), tmp_path)
    export_triton(Server(), tmp_path)
    with pytest.raises(BadInput, match=r"tiny exists; choose another --out"):
        export_triton(Server(), tmp_path)
    monkeypatch.setattr(triton, "relative_error", lambda *_: 0.5)
    with pytest.raises(Corrupt, match=r"differ by 5\.0e-01"):
        export_triton(Server(), tmp_path / "other")
    assert not (tmp_path / "other" / "tiny").exists()


def test_a_run_that_ends_between_its_files_leaves_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, graph: bytes
) -> None:
    monkeypatch.setattr(triton, "onnx_graph", lambda *_: graph)
    write = triton.write_bytes

    def ends(path: Path, data: bytes) -> None:
        if path.name == "config.pbtxt":
            raise KeyboardInterrupt
        write(path, data)

    monkeypatch.setattr(triton, "write_bytes", ends)
    with pytest.raises(KeyboardInterrupt):
        export_triton(Server(), tmp_path)
    assert not (tmp_path / "tiny").exists()
    monkeypatch.setattr(triton, "write_bytes", write)
    assert (export_triton(Server(), tmp_path).folder / "1" / "model.onnx").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_the_command_says_what_it_wrote(tmp_path: Path) -> None:
    deployment = deploy(tmp_path / "d")
    words = ["export-triton", str(deployment / "server"), "--out", str(tmp_path / "repository")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["event"] == "exported"
    assert (tmp_path / "repository" / said["model"] / "1" / "model.onnx").stat().st_size > 0
