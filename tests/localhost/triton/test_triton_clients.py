"""What Triton's clients may ask for beside plain tensors: refused by name, never left out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from halves import FEATURE

from cloud_server.server import CloudServer
from splitlab.errors import BadInput
from splitlab.wire import Request
from splitlab.wire import open_inference_pb2 as pb
from splitlab.wire.messages import INFER, STREAM_INFER

Serve = Callable[..., CloudServer]
Spoil = Callable[[Any], None]
ROWS = 2

REFUSED: dict[str, tuple[Spoil, str]] = {
    "classification": (
        lambda m: setattr(m.outputs[0].parameters["classification"], "int64_param", 3),
        "parameter classification = 3 of output 'output_0': the classification extension",
    ),
    "classification-text": (
        lambda m: setattr(m.outputs[0].parameters["classification"], "string_param", "3"),
        "parameter classification = 3 of output 'output_0'",
    ),
    "output-memory": (
        lambda m: setattr(m.outputs[0].parameters["shared_memory_region"], "string_param", "r"),
        "parameter shared_memory_region = r of output 'output_0': shared memory is not served",
    ),
    "input-memory": (
        lambda m: (
            setattr(m.inputs[0].parameters["shared_memory_region"], "string_param", "r"),
            m.ClearField("raw_input_contents"),
        ),
        "parameter shared_memory_region = r of input 'feature': shared memory is not served",
    ),
    "memory-offset": (
        lambda m: setattr(m.inputs[0].parameters["shared_memory_offset"], "uint64_param", 8),
        "parameter shared_memory_offset = 8 of input 'feature'",
    ),
    "sequence": (
        lambda m: setattr(m.parameters["sequence_id"], "int64_param", 7),
        "parameter sequence_id = 7: the model keeps no state",
    ),
    "sequence-start": (
        lambda m: setattr(m.parameters["sequence_start"], "bool_param", True),
        "parameter sequence_start = True: the model keeps no state",
    ),
    "final": (
        lambda m: setattr(m.parameters["triton_enable_empty_final_response"], "bool_param", True),
        "parameter triton_enable_empty_final_response = True: each request has one answer",
    ),
    "both-contents": (
        lambda m: m.inputs[0].contents.fp32_contents.append(1.0),
        "inputs have raw contents and typed ones",
    ),
}


def asked(spoil: Spoil = lambda _: None) -> Any:
    message = pb.ModelInferRequest(model_name="tiny", id="mine")
    message.inputs.add(name="feature", datatype="FP32", shape=[ROWS, *FEATURE])
    message.outputs.add(name="output_0")
    message.raw_input_contents.append(bytes(4 * ROWS * 4 * 6 * 6))
    spoil(message)
    return message


def harmless(message: Any) -> None:
    message.parameters["priority"].uint64_param = 2
    message.parameters["timeout"].int64_param = 10
    message.parameters["sequence_id"].int64_param = 0
    message.parameters["sequence_end"].bool_param = False
    message.parameters["binary_data_output"].bool_param = True
    message.parameters["mine"].string_param = "kept"
    message.outputs[0].parameters["binary_data"].bool_param = True
    message.outputs[0].parameters["classification"].int64_param = 0


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_change_the_answer_is_refused(serve: Serve, case: str) -> None:
    spoil, words = REFUSED[case]
    raw = asked(spoil).SerializeToString()
    with pytest.raises(BadInput, match=r"parameter|contents"):
        Request.from_bytes(raw)
    with grpc.insecure_channel(serve().address) as channel:
        with pytest.raises(grpc.RpcError) as told:
            channel.unary_unary(INFER)(raw, timeout=20)
        assert told.value.code() is grpc.StatusCode.INVALID_ARGUMENT  # type: ignore[attr-defined]
        assert words in told.value.details()  # type: ignore[attr-defined]
        whole = asked().SerializeToString()
        replies = channel.stream_stream(STREAM_INFER)(iter([raw, whole]), timeout=20)
        first, second = map(pb.ModelStreamInferResponse.FromString, replies)
    assert words in first.error_message
    assert first.infer_response.id == "mine"
    assert not first.infer_response.outputs
    assert not second.error_message
    assert list(second.infer_response.outputs[0].shape) == [ROWS, 5]


def test_what_changes_nothing_is_left_alone(serve: Serve) -> None:
    with grpc.insecure_channel(serve().address) as channel:
        answers = [
            pb.ModelInferResponse.FromString(
                channel.unary_unary(INFER)(asked(spoil).SerializeToString(), timeout=20)
            )
            for spoil in (lambda _: None, harmless)
        ]
    assert answers[0].raw_output_contents == answers[1].raw_output_contents
    assert answers[0].raw_output_contents[0]


TRITON = """
import queue, sys
import numpy as np
import tritonclient.grpc as triton

client = triton.InferenceServerClient(sys.argv[1])
given = triton.InferInput("feature", [2, 4, 6, 6], "FP32")
given.set_data_from_numpy(np.zeros((2, 4, 6, 6), np.float32))
plain = triton.InferRequestedOutput("output_0")
classes = triton.InferRequestedOutput("output_0", class_count=2)
shared = triton.InferRequestedOutput("output_0")
shared.set_shared_memory("region", 40)
apart = triton.InferInput("feature", [2, 4, 6, 6], "FP32")
apart.set_shared_memory("region", 1152)
cases = [
    (dict(inputs=[given], outputs=[classes]), "classification"),
    (dict(inputs=[given], outputs=[shared]), "shared_memory_region"),
    (dict(inputs=[apart], outputs=[plain]), "shared_memory_region"),
    (dict(inputs=[given], outputs=[plain], sequence_id=5, sequence_start=True), "sequence_id"),
]
answers = queue.Queue()
client.start_stream(lambda result, error: answers.put((result, error)))
for words, name in cases:
    try:
        client.infer("tiny", **words)
        raise SystemExit(f"{name} was answered")
    except triton.InferenceServerException as error:
        assert error.status() == "StatusCode.INVALID_ARGUMENT", error
        assert name in error.message(), error
    client.async_stream_infer("tiny", **words)
    result, error = answers.get(timeout=30)
    assert error is not None and name in str(error), (result, error)
client.async_stream_infer("tiny", [given], outputs=[plain], priority=3, timeout=10)
result, error = answers.get(timeout=30)
assert error is None and result.as_numpy("output_0").shape == (2, 5), error
client.stop_stream()
"""


def test_triton_s_own_client_is_told(serve: Serve) -> None:
    pytest.importorskip("tritonclient", reason="pip install 'tritonclient[grpc]'")
    words = [sys.executable, "-c", TRITON, serve().address]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
