"""Servers that send back what they get: `python -m bench.perf.serving.echo ours|naive|bare|socket`.

Prints the port on which it listens; ends with its parent. `ours` is the lab's server, with limits,
checks and telemetry, over a body that changes nothing.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from splitlab.wire.channels import Tls

SHAPE = (64, 16, 16)
"""Of one row: 64 KiB in FP32."""
MAX_ROWS = 64
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
SIZE_BYTES = 8


class EchoServer:
    """A server half whose body changes nothing."""

    def __init__(self) -> None:
        from torch import nn

        from splitlab.contracts import FeatureSpec

        self.model_name, self.digest, self.wire = "echo", "0" * 64, "FP32"
        self.feature = FeatureSpec(shape=SHAPE)
        self.outputs: list[tuple[int, ...]] = [SHAPE]
        self.max_rows, self.body_ids = MAX_ROWS, [0]
        self.bodies = nn.ModuleList([nn.Identity()]).eval()


def ours(folder: str = "") -> None:
    """The lab's own server; with certificates in `folder` over mutual TLS."""
    from cloud_server.server import CloudServer
    from splitlab.machine import settle

    tls = tls_of(folder, "server") if folder else None
    server = CloudServer(EchoServer(), "127.0.0.1:0", engine="plain", tls=tls)
    settle()
    server.start()
    _listens(server.port)
    threading.Event().wait()


def naive() -> None:
    """What a tutorial writes: one unary call a feature, generated stubs, no limit on messages."""
    import grpc

    from splitlab.wire import open_inference_pb2 as pb
    from splitlab.wire import open_inference_pb2_grpc as stubs

    class Echo(stubs.GRPCInferenceServiceServicer):
        def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
            reply = pb.ModelInferResponse(model_name=request.model_name, id=request.id)
            for tensor in request.inputs:
                reply.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
            reply.raw_output_contents.extend(request.raw_input_contents)
            return reply

    server = grpc.server(ThreadPoolExecutor(4), options=UNLIMITED)
    stubs.add_GRPCInferenceServiceServicer_to_server(Echo(), server)
    _serve(server)


def bare() -> None:
    """Bytes over open streams, as they come."""
    import grpc

    from bench.perf.serving.bare_stream import METHOD

    def echo(pieces: Iterator[bytes], _: Any) -> Iterator[bytes]:
        yield from pieces

    service, name = METHOD.strip("/").split("/")
    methods = {name: grpc.stream_stream_rpc_method_handler(echo)}
    server = grpc.server(ThreadPoolExecutor(16), options=UNLIMITED)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
    _serve(server)


def plain_socket() -> None:
    """TCP: eight bytes of size, then the feature; it is read whole and then sent back."""
    listening = socket.create_server(("127.0.0.1", 0))
    _listens(listening.getsockname()[1])
    while True:
        connection, _ = listening.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        size, memory = bytearray(SIZE_BYTES), bytearray()
        while read_all(connection, memoryview(size)):
            wanted = int.from_bytes(size, "little")
            if len(memory) < wanted:
                memory = bytearray(wanted)
            view = memoryview(memory)[:wanted]
            if not read_all(connection, view):
                break
            connection.sendall(view)


def tls_of(folder: Path | str, role: str) -> Tls:
    """One side's files of `write_certificates`."""
    from splitlab.wire.channels import Tls

    place = Path(folder)
    return Tls(place / f"{role}.pem", place / f"{role}.key", place / "ca.pem")


def read_all(connection: socket.socket, into: memoryview) -> bool:
    """Fill `into`; False where the peer has gone."""
    while into:
        count = connection.recv_into(into)
        if not count:
            return False
        into = into[count:]
    return True


def _serve(server: Any) -> None:
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    _listens(port)
    server.wait_for_termination()


def _listens(port: int) -> None:
    print(port, flush=True)


if __name__ == "__main__":
    {"ours": ours, "naive": naive, "bare": bare, "socket": plain_socket}[sys.argv[1]](*sys.argv[2:])
