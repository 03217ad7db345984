"""`bench perf transport`: a feature to a server and back, ours against what else there is.

Each way starts with a tensor here and ends with a tensor here; a few echoes after one another, in
turns, so that whatever else the machine does meets all of them. Rivals: a plain TCP socket, which
is the bound; a naive unary gRPC call with protobuf; and, where a Python with it is named, Triton.
Beside them goes gRPC's own share: the same pieces over open streams and nothing else (`bare`). No
goal is set against it; it says how much of a miss is gRPC's and how much ours. And ours again over
mutual TLS (`tls`).

Copies of a feature's bytes in our code: sender 1 (into the message), receiver 1 (out of it, so that
it may be written into); a feature that is channels last, as convolutions leave it, takes one more
on each. gRPC's Python layer adds 1 on sending and 3 on receiving (each slice, their sum, and its
bytes); protobuf, which would add 2 on each side, never sees the contents. Ours are held by
tests/wire/test_copies.py.
"""

from __future__ import annotations

import contextlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import torch
from torch import Tensor

from bench.perf.serving.bare_stream import bare_stream
from bench.perf.serving.echo import MAX_ROWS, SHAPE, SIZE_BYTES, UNLIMITED, read_all, tls_of
from bench.perf.verdict import judged
from bench.roles.launch import thread_environment
from cloud_server.authority import write_certificates
from edge_client.client import EdgeClient
from splitlab.contracts import FeatureSpec
from splitlab.errors import BadInput, SplitLabError
from splitlab.machine import settle
from splitlab.randomness import Secret
from splitlab.thread_share import thread_share
from splitlab.wire import micro_batch_rows
from splitlab.wire import open_inference_pb2 as pb
from splitlab.wire import open_inference_pb2_grpc as stubs

ROW_BYTES = 4 * 64 * 16 * 16
SIZES = tuple(rows * ROW_BYTES for rows in (1, 4, 8, 16, 32, 128, 512))
"""64 KiB to 32 MiB."""
SERVER_THREADS = 1
COPIES = {"sender": 1, "receiver": 1, "gRPC sender": 1, "gRPC receiver": 3}
MIB = 1 << 20
Way = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Goal:
    """How fast we are to be beside a rival: at least `least` times as fast, from a size on."""

    rival: str
    least: float
    from_bytes: int = 0
    below_bytes: int = 1 << 62


GOALS = (
    Goal("naive", 1.0, below_bytes=MIB),
    Goal("naive", 4.0, from_bytes=32 * MIB),
    Goal("socket", 0.25, from_bytes=MIB, below_bytes=8 * MIB),
    Goal("socket", 0.5, from_bytes=8 * MIB),
    Goal("triton", 3.0),
)


@dataclass(frozen=True)
class Echo:
    """One size: medians in ms by way, by rival how many times faster we are, and which Triton."""

    size: int
    rounds: int
    ms: dict[str, float]
    times: dict[str, float] = field(default_factory=dict)
    wanted: dict[str, float] = field(default_factory=dict)
    triton: str = ""

    @property
    def ratio(self) -> float:
        """The least of what was reached over what was wanted; 1 where nothing was."""
        return min((self.times[r] / least for r, least in self.wanted.items()), default=1.0)

    def as_dict(self) -> dict[str, Any]:
        servers = thread_share(SERVER_THREADS)
        return judged(self, self.ratio, 1.0, copies=COPIES, servers=servers)


def perf_transport(
    triton: Path | None = None, sizes: tuple[int, ...] = SIZES, least_rounds: int = 7
) -> dict[str, dict[str, Any]]:
    """Measure every size; by its name.

    Args:
        triton: a Python that has `nvidia-pytriton`; None measures without.

    Raises:
        SplitLabError: a server did not start, or an echo was not what was sent.
    """
    torch.set_num_threads(1)
    settle()
    with contextlib.ExitStack() as stack:
        version = ""
        ways: dict[str, Way] = {"ours": stack.enter_context(_ours())}
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_certificates(folder, ["127.0.0.1"], days=1)
        ways["tls"] = stack.enter_context(_ours(folder))
        ways["naive"] = stack.enter_context(_naive(_module("naive")))
        ways["bare"] = stack.enter_context(_bare())
        ways["socket"] = stack.enter_context(_socket())
        if triton is not None:
            version = _version(triton)
            script = Path(__file__).with_name("triton_echo.py")
            ways["triton"] = stack.enter_context(_naive([str(triton), str(script)]))
        found = [_measure(ways, size, least_rounds) for size in sizes]
    named = (replace(echo, triton=version) for echo in found)
    return {f"echo of {echo.size // 1024} KiB": echo.as_dict() for echo in named}


def _version(python: Path) -> str:
    """Of the `nvidia-pytriton` that another Python has.

    Raises:
        BadInput: it has none, or is none.
    """
    words = "import importlib.metadata as m; print('nvidia-pytriton', m.version('nvidia-pytriton'))"
    try:
        done = subprocess.run(
            [python, "-c", words], capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise BadInput(f"--triton {python}: name a Python that has nvidia-pytriton") from error
    return done.stdout.strip()


def _measure(ways: dict[str, Way], size: int, least_rounds: int) -> Echo:
    feature = torch.rand(size // ROW_BYTES, *SHAPE)
    for name, way in ways.items():
        for _ in range(2):  # the first round warms up: windows, memory, threads
            if not torch.equal(way(feature), feature):
                raise SplitLabError(f"{name} gave back something else than it was sent")
    rounds = max(least_rounds, min(200, 256 * MIB // size))
    burst = max(1, min(20, 8 * MIB // size))  # of a single echo the first cost is that cores sleep
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(max(least_rounds, rounds // burst)):
        for name, way in ways.items():
            for _ in range(burst):
                started = time.perf_counter()
                way(feature)
                seconds[name].append(time.perf_counter() - started)
    middle = {name: statistics.median(values) * 1000 for name, values in seconds.items()}
    return Echo(
        size=size,
        rounds=len(seconds["ours"]),
        ms=middle,
        times={name: ms / middle["ours"] for name, ms in middle.items() if name != "ours"},
        wanted={
            goal.rival: goal.least
            for goal in GOALS
            if goal.rival in middle and goal.from_bytes <= size < goal.below_bytes
        },
    )


def _module(role: str, *more: str) -> list[str]:
    return [sys.executable, "-m", "bench.perf.serving.echo", role, *more]


@contextlib.contextmanager
def _process(words: list[str]) -> Iterator[int]:
    """A server's port; it ends with the context."""
    try:
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, env=thread_environment(SERVER_THREADS), text=True
        )
    except OSError as error:
        raise BadInput(f"{words[0]}: {error.strerror}; name a Python that can be run") from error
    try:
        assert process.stdout is not None
        for line in process.stdout:  # Triton talks before it says its port
            if line.strip().isdigit():
                break
        else:
            raise SplitLabError(f"{' '.join(words)} ended before it listened")
        yield int(line)
    finally:
        process.terminate()
        process.communicate()


@contextlib.contextmanager
def _ours(certificates: Path | None = None) -> Iterator[Way]:
    """The edge client over a head and a tail that change nothing."""
    half = SimpleNamespace(
        model_name="echo",
        digest="0" * 64,
        feature=FeatureSpec(shape=SHAPE),
        outputs=[SHAPE],
        wire="FP32",
        max_rows=MAX_ROWS,
        input=SimpleNamespace(shape=SHAPE),
        classes=("same",),
        secret=Secret.new(),
        head=lambda feature: feature,
        protect=lambda feature, _draw: feature,
        select=lambda outputs, _draw: outputs[0],
        tail=lambda output: output,
    )
    tls = tls_of(certificates, "client") if certificates else None
    with (
        _process(_module("ours", *([str(certificates)] if certificates else []))) as port,
        EdgeClient(half, [f"127.0.0.1:{port}"], tls=tls) as client,
    ):
        yield lambda feature: client.infer(feature).logits


@contextlib.contextmanager
def _naive(words: list[str]) -> Iterator[Way]:
    with (
        _process(words) as port,
        grpc.insecure_channel(f"127.0.0.1:{port}", options=UNLIMITED) as channel,
    ):
        stub = stubs.GRPCInferenceServiceStub(channel)

        def way(feature: Tensor) -> Tensor:
            request = pb.ModelInferRequest(model_name="echo", id="1")
            request.inputs.add(name="feature", datatype="FP32", shape=feature.shape)
            request.raw_input_contents.append(feature.numpy().tobytes())
            reply = stub.ModelInfer(request)
            values = np.frombuffer(reply.raw_output_contents[0], dtype="<f4").copy()
            return torch.from_numpy(values).view(*reply.outputs[0].shape)

        yield way


@contextlib.contextmanager
def _bare() -> Iterator[Way]:
    rows = micro_batch_rows(SHAPE, "FP32", MAX_ROWS)
    with (
        _process(_module("bare")) as port,
        grpc.insecure_channel(f"127.0.0.1:{port}", options=UNLIMITED) as channel,
        bare_stream(channel, rows) as way,
    ):
        yield way


@contextlib.contextmanager
def _socket() -> Iterator[Way]:
    with (
        _process(_module("socket")) as port,
        socket.create_connection(("127.0.0.1", port)) as connection,
    ):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def way(feature: Tensor) -> Tensor:
            raw = _bytes_of(feature)
            connection.sendall(len(raw).to_bytes(SIZE_BYTES, "little"))
            connection.sendall(raw)
            back = torch.empty_like(feature)
            read_all(connection, _bytes_of(back))
            return back

        yield way


def _bytes_of(feature: Tensor) -> memoryview:
    values: Any = feature.numpy()
    return memoryview(values).cast("B")
