"""What a request costs: milliseconds by stage, bytes both ways, messages and retries."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from splitlab.wire.framing import Buffer

GRPC_PREFIX_BYTES = 5  # gRPC's own header before each message


@dataclass
class Ledger:
    """Filled in by every micro-batch of a request.

    Args:
        ms: stage -> milliseconds, one value for each micro-batch. "head", "protect", "encode",
            "decode", "tail" are the client's; "queue" (waiting for the bodies' turn), "codec" and
            "bodies" are the slowest server's own figures; "network" is what is left of its round
            trip; "retry" is what went by before the attempt that was answered, where one failed.
        bytes_up, bytes_down: whole messages with gRPC's header, without HTTP/2 and TCP.
        payload_up, payload_down: raw contents of the tensors alone.
        messages: messages sent, one for each micro-batch and server.
        retries: attempts beyond the first.
        bytes_resent: whole messages of these attempts, not in `bytes_up`.
        answered, failed: attempts by server (HOST:PORT).
    """

    ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    bytes_up: int = 0
    bytes_down: int = 0
    payload_up: int = 0
    payload_down: int = 0
    messages: int = 0
    retries: int = 0
    bytes_resent: int = 0
    answered: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what stands inside."""
        started = time.perf_counter()
        yield
        self.add_seconds(name, time.perf_counter() - started)

    def add_seconds(self, stage: str, seconds: float) -> None:
        self.ms[stage].append(max(0.0, seconds) * 1000)

    def sent(self, payload: int, message: bytes) -> None:
        self.messages += 1
        self.payload_up += payload
        self.bytes_up += len(message) + GRPC_PREFIX_BYTES

    def resent(self, times: int, message: bytes) -> None:
        self.retries += times
        self.bytes_resent += times * (len(message) + GRPC_PREFIX_BYTES)

    def received(self, payload: int, message: Buffer) -> None:
        self.payload_down += payload
        self.bytes_down += len(message) + GRPC_PREFIX_BYTES


def percentiles(ms: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """p50 and p95 in ms, and the number of values, for each stage that has any."""
    return {
        stage: {
            "p50": float(np.percentile(values, 50)),
            "p95": float(np.percentile(values, 95)),
            "count": len(values),
        }
        for stage, values in ms.items()
        if values
    }
