"""What an operator sees of the server: Prometheus metrics and a log line for each request.

Counts, sizes, times and codes; never a feature, an output or anything computed from one.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary
from prometheus_client.exposition import start_http_server

from splitlab.errors import BadInput
from splitlab.wire.channels import is_loopback, split_address

LONGEST_ID = 64
BUCKETS = tuple(base * 10.0**power for power in range(-4, 2) for base in (1.0, 2.5, 5.0))
"""Seconds, from 0.1 ms to 50 s."""


class Telemetry:
    """
    Args:
        body_ids: of the bodies that are served, in order.
        log: where a line for each request goes; None for nowhere.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        body_ids: Sequence[int],
        log: TextIO | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.registry = CollectorRegistry()
        self._log, self._clock, self._lock = log, clock, threading.Lock()
        self._bodies = [str(body) for body in body_ids]
        made: Any = {"registry": self.registry, "namespace": "splitlab"}
        self._calls = Counter("calls", "gRPC calls by method and code", ["method", "code"], **made)
        self._requests = Counter("requests", "inference requests by code", ["code"], **made)
        self._rows = Counter("rows", "images' features answered", **made)
        self._up = Counter("request_bytes", "whole request messages", **made)
        self._down = Counter("reply_bytes", "whole reply messages", **made)
        self._stages = Histogram(
            "stage_seconds",
            "time in queue, decode, bodies and encode",
            ["stage"],
            buckets=BUCKETS,
            **made,
        )
        self._body = Summary("body_seconds", "time in each body", ["body"], **made)
        self._open = Gauge("open_calls", "calls under way", **made)
        self._held = Gauge("held_bytes", "bytes held for requests under way", **made)

    def watch(self, load: Callable[[], tuple[int, int]]) -> None:
        """Read (open calls, held bytes) from `load` whenever metrics are asked for."""
        self._open.set_function(lambda: load()[0])
        self._held.set_function(lambda: load()[1])

    def call(self, method: str, code: str) -> None:
        """A call of any method has ended."""
        self._calls.labels(method, code).inc()

    def request(
        self,
        *,
        peer: str,
        message_id: str,
        code: str,
        up: int,
        down: int = 0,
        rows: int = 0,
        stages_us: Mapping[str, int] | None = None,
        each_us: Sequence[int] = (),
    ) -> None:
        """An inference request was answered or refused.

        Args:
            up, down: bytes of the whole messages.
            stages_us: microseconds by stage.
            each_us: microseconds in each body, where the engine runs them one by one.
        """
        stages = dict(stages_us or {})
        self._requests.labels(code).inc()
        self._up.inc(up)
        self._down.inc(down)
        self._rows.inc(rows)
        for stage, spent in stages.items():
            self._stages.labels(stage).observe(spent / 1e6)
        if each_us:
            for body, spent in zip(self._bodies, each_us, strict=True):
                self._body.labels(body).observe(spent / 1e6)
        if self._log is not None:
            line = {
                "event": "request",
                "time": round(self._clock(), 3),
                "peer": peer,
                "id": message_id[:LONGEST_ID],
                "code": code,
                "rows": rows,
                "bytes_up": up,
                "bytes_down": down,
                **{f"{stage}_us": spent for stage, spent in stages.items()},
            }
            with self._lock:
                print(json.dumps(line), file=self._log, flush=True)


def check_metrics(listen: str, *, off_loopback: bool) -> tuple[str, int]:
    """HOST:PORT -> (host, port), where metrics may be read; opens no port.

    Raises:
        BadInput: not an address, or off loopback.
    """
    host, port = split_address(listen, "--metrics")
    if not off_loopback and not is_loopback(host):
        raise BadInput(
            f"--metrics {host}: plaintext off loopback shows everyone there how much is asked; "
            "accept it with --metrics-open"
        )
    return host, port


class Metrics:
    """The port that Prometheus reads.

    Args:
        listen: HOST:PORT; port 0 picks a free one.
        off_loopback: allow it there; it has neither TLS nor token.

    Raises:
        BadInput: not an address, taken, or off loopback.
    """

    def __init__(self, telemetry: Telemetry, listen: str, *, off_loopback: bool) -> None:
        host, port = check_metrics(listen, off_loopback=off_loopback)
        try:
            self._server, self._thread = start_http_server(
                port, host.strip("[]"), telemetry.registry
            )
        except OSError as error:
            raise BadInput(
                f"--metrics {listen}: cannot bind ({error.strerror}); choose another port"
            ) from error
        self.port = int(self._server.server_port)

    def close(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
