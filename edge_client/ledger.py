"""What a request costs: milliseconds by stage, bytes both ways, messages and retries."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from edge_client.stages import TOTAL, parts
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
            Micro-batches overlap, so that these times may exceed the request's.
        own: stage -> seconds of the request's own thread, each moment in one stage; see `stages`.
        bytes_up, bytes_down: whole messages with gRPC's header, without HTTP/2 and TCP.
        payload_up, payload_down: raw contents of the tensors alone.
        messages: messages sent, one for each micro-batch and server.
        retries: attempts beyond the first.
        bytes_resent: whole messages of these attempts, not in `bytes_up`.
        answered, failed: attempts by server (HOST:PORT).
    """

    ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    own: dict[str, float] = field(default_factory=lambda: defaultdict(float))
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
        spent = time.perf_counter() - started
        self.add_seconds(name, spent)
        self.own[name] += spent

    def waited(self, seconds: Mapping[str, float]) -> None:
        """Seconds in which the request's thread waited, by stage."""
        for stage, spent in seconds.items():
            self.own[stage] += spent

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


def by_stage(requests: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """p50, p95, count and `part` in ms of each stage of some requests, and of their total.

    A stage that a request did not have took no time there. The parts add up to the total's p50.

    Args:
        requests: stage -> ms, and the "total", of each request.
    """
    share = parts(requests)
    names = [*share, TOTAL] if requests else []
    found = percentiles({name: [ms.get(name, 0.0) for ms in requests] for name in names})
    return {name: {**own, **_part(share, name)} for name, own in found.items()}


def _part(share: Mapping[str, float], name: str) -> dict[str, float]:
    return {"part": share[name]} if name in share else {}
