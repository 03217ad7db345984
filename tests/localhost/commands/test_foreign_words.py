"""What a hostile server writes reaches the client's terminal as text, and not at length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from deployments import deploy, pictures
from halves import Client, images
from typer.testing import CliRunner

from edge_client.cli import app
from edge_client.client import EdgeClient
from splitlab.errors import FOREIGN_AT_MOST, Mismatch, ServerRefused, SplitLabError
from splitlab.wire import Reply, Request
from splitlab.wire import open_inference_pb2 as pb
from splitlab.wire.codec import WireTensor
from splitlab.wire.messages import SERVICE

TITLE = "\x1b]0;owned\x07\x1b[2J\nok: "
SHOWN = r"\x1b]0;owned\x07\x1b[2J\x0aok:"
Answer = Callable[[bytes, grpc.ServicerContext], bytes]
Lie = Callable[..., str]


def refuse(words: str, code: grpc.StatusCode = grpc.StatusCode.INVALID_ARGUMENT) -> Answer:
    return lambda _raw, context: context.abort(code, words)


def model(datatype: str) -> Answer:
    told = pb.ModelMetadataResponse(name="m")
    told.inputs.add(name="feature", datatype=datatype, shape=[-1, *Client().feature.shape])
    for i, shape in enumerate(Client().outputs):
        told.outputs.add(name=f"output_{i}", datatype="FP32", shape=[-1, *shape])
    return lambda _raw, _context: told.SerializeToString()


def named(name: str, datatype: str = "FP32") -> Answer:
    def answer(raw: bytes, _context: grpc.ServicerContext) -> bytes:
        tensor = WireTensor(name, datatype, (1, 1), bytes(4))
        return Reply("m", Request.from_bytes(raw).message_id, (tensor,)).to_bytes()

    return answer


@pytest.fixture
def lying() -> Iterator[Lie]:
    """Start a server that answers as it is told; its address."""
    running = []

    def start(**answers: Answer) -> str:
        told: dict[str, Answer] = {
            "ServerMetadata": lambda _raw, _context: b"",
            "ModelMetadata": model("FP32"),
            **answers,
        }
        server = grpc.server(ThreadPoolExecutor(2))
        methods: dict[str, Any] = {
            name: grpc.unary_unary_rpc_method_handler(answer) for name, answer in told.items()
        }
        handlers = grpc.method_handlers_generic_handler(SERVICE, methods)
        server.add_generic_rpc_handlers((handlers,))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        running.append(server)
        return f"127.0.0.1:{port}"

    yield start
    for server in running:
        server.stop(None).wait()


def holds(words: str) -> Answer:
    told = pb.ServerMetadataResponse(extensions=[f"splitlab_digest:{words}"])
    return lambda _raw, _context: told.SerializeToString()


@pytest.mark.parametrize(
    ("answers", "error", "shown"),
    [
        ({"ModelInfer": refuse(TITLE)}, ServerRefused, SHOWN),
        ({"ModelInfer": refuse(TITLE, grpc.StatusCode.FAILED_PRECONDITION)}, Mismatch, SHOWN),
        ({"ModelMetadata": refuse(TITLE)}, ServerRefused, SHOWN),
        ({"ModelMetadata": model(TITLE)}, Mismatch, f"feature is {SHOWN}"),
        ({"ServerMetadata": holds(TITLE)}, Mismatch, r"holds deployment \x1b]0;owned\x07\x1b[, "),
        ({"ModelInfer": named(TITLE)}, ServerRefused, f"the message holds: {SHOWN}"),
        ({"ModelInfer": named("output_0", TITLE)}, ServerRefused, f"output_0 came as {SHOWN}"),
    ],
    ids=["status", "mismatch", "handshake", "datatype", "digest", "tensor", "reply's datatype"],
)
def test_control_characters_in_any_word_are_written_out(
    lying: Lie, answers: dict[str, Answer], error: type[SplitLabError], shown: str
) -> None:
    with (
        EdgeClient(Client(), [lying(**answers)], retries=0) as client,
        pytest.raises(error) as raised,
    ):
        client.infer(images(1))
    words = str(raised.value)
    assert words.isprintable()
    assert shown in words


@pytest.mark.parametrize(
    "answer", [refuse("x" * 4000), named("x" * 4000), named("output_0", "y" * 4000)]
)
def test_long_words_are_cut(lying: Lie, answer: Answer) -> None:
    with (
        EdgeClient(Client(), [lying(ModelInfer=answer)], retries=0) as client,
        pytest.raises(ServerRefused, match=r"(x|y){500}\.\.\.") as raised,
    ):
        client.infer(images(1))
    assert len(str(raised.value)) < FOREIGN_AT_MOST + 250


def test_the_command_line_prints_them_as_text(lying: Lie, tmp_path: Path) -> None:
    half = deploy(tmp_path / "d") / "client"
    picture = next(pictures(tmp_path / "photos").rglob("*.png"))
    server = lying(ServerMetadata=refuse(TITLE))
    words = [str(half), "--server", server, "--retries", "0", "infer", str(picture)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 4
    assert "\x1b" not in done.output
    assert f"error: {server} refused with INVALID_ARGUMENT: {SHOWN}" in done.output
