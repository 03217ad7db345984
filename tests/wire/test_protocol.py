"""Our messages against those of `tritonclient`, and the generated code against its source."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto

from splitlab.wire import open_inference_pb2 as pb

ROOT = Path(__file__).resolve().parents[2]

# Two copies of one protobuf package cannot share a process, so theirs is read in another.
THEIRS = """
import sys
from tritonclient.grpc import service_pb2
sys.stdout.buffer.write(service_pb2.DESCRIPTOR.serialized_pb)
"""


@pytest.fixture(scope="module")
def theirs() -> FileDescriptorProto:
    pytest.importorskip("tritonclient", reason="pip install 'tritonclient[grpc]'")
    done = subprocess.run([sys.executable, "-c", THEIRS], capture_output=True, check=True)
    return FileDescriptorProto.FromString(done.stdout)


def ours() -> FileDescriptorProto:
    return FileDescriptorProto.FromString(pb.DESCRIPTOR.serialized_pb)


def described(message: DescriptorProto) -> dict[str, Any]:
    """Everything of a message that decides about its bytes, and the names."""
    return {
        "fields": {
            field.name: (
                field.number,
                field.type,
                field.label,
                field.type_name,
                message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else "",
            )
            for field in message.field
        },
        "nested": {nested.name: described(nested) for nested in message.nested_type},
        "map": message.options.map_entry,
    }


def test_every_message_has_the_protocol_s_own_fields_and_numbers(
    theirs: FileDescriptorProto,
) -> None:
    wanted = {message.name: described(message) for message in theirs.message_type}
    given = {message.name: described(message) for message in ours().message_type}
    assert len(given) == 15
    for name, message in given.items():
        assert message == wanted[name], name
    assert ours().package == theirs.package == "inference"


def test_every_method_has_the_protocol_s_own_types(theirs: FileDescriptorProto) -> None:
    def methods(file: FileDescriptorProto) -> dict[str, tuple[Any, ...]]:
        (service,) = file.service
        assert service.name == "GRPCInferenceService"
        return {
            method.name: (
                method.input_type,
                method.output_type,
                method.client_streaming,
                method.server_streaming,
            )
            for method in service.method
        }

    wanted = methods(theirs)
    assert set(methods(ours())) == {
        "ServerLive",
        "ServerReady",
        "ModelReady",
        "ServerMetadata",
        "ModelMetadata",
        "ModelInfer",
        "ModelStreamInfer",
    }
    for name, types in methods(ours()).items():
        assert types == wanted[name], name


def test_the_generated_code_is_fresh() -> None:
    pytest.importorskip("grpc_tools", reason="pip install grpcio-tools==1.81.1")
    script = ROOT / "scripts" / "generate_stubs.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
