"""What an operator sees of the server: Prometheus metrics, a log line for each request where asked
for, and one for refusals and for faults now and then.

Counts, sizes, times and codes; never a feature, an output or anything computed from one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from cloud_server.watch.logs import Seldom, write_line
from splitlab.capture import TapStats
from splitlab.wire import refusals

LONGEST_ID = 64
BUCKETS = tuple(base * 10.0**power for power in range(-4, 2) for base in (1.0, 2.5, 5.0))
"""Seconds, from 0.1 ms to 50 s."""
REASONS = {
    refusals.CALLS: "a host had as many calls open as one may",
    refusals.CROWDED: "other hosts held the calls that there are",
    refusals.STREAMS: "too many streams",
    refusals.MEMORY: "no room for the message came up in time",
    "idle": "an idle call, ended for another host",
    "patience": "a peer kept the server waiting",
    "unread": "a peer hung up before its message had arrived, or it was larger than any may be",
    "token": "no token, or a wrong one",
    "watches": "too many watches of the server's health",
    "rows": "more rows than one message may hold",
    "wait": "the bodies were busy for too long",
    "range": "for that feature a body gave what the wire does not carry",
}
"""Why something is refused, in a word and in words. gRPC does not tell `unread`'s two apart."""


class Telemetry:
    """
    Args:
        body_ids: of the bodies that are served, in order.
        log: where a line for each request goes; None for nowhere.
        clock: seconds since 1970, for those lines.
    """

    def __init__(
        self,
        body_ids: Sequence[int],
        log: TextIO | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.registry = CollectorRegistry()
        self._log, self._clock = log, clock
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
        self._body = Summary(
            "body_seconds",
            "time in each body; only with engines that run them one by one, none otherwise",
            ["body"],
            **made,
        )
        self._refusals = Counter("refusals", "refusals by reason", ["reason"], **made)
        for reason in REASONS:
            self._refusals.labels(reason)
        self._seldom = Seldom()
        self._faults = Seldom(event="failed", level=logging.ERROR)
        self._open = Gauge("open_calls", "calls under way", **made)
        self._held = Gauge("held_bytes", "bytes held for requests under way", **made)

    def watch(self, load: Callable[[], tuple[int, int]]) -> None:
        """Read (open calls, held bytes) from `load` whenever metrics are asked for."""
        self._open.set_function(lambda: load()[0])
        self._held.set_function(lambda: load()[1])

    def watch_tap(self, stats: Callable[[], TapStats]) -> None:
        """Read frames kept and dropped from `stats` whenever metrics are asked for."""
        self.registry.register(_Frames(stats))

    def call(self, method: str, code: str) -> None:
        """A call of any method has ended."""
        self._calls.labels(method, code).inc()

    def refused(self, reason: str, peer: str) -> None:
        """A peer was refused, for one of `REASONS`; of each reason a line now and then says so."""
        self._refusals.labels(reason).inc()
        self._seldom.say(reason, f"refused {peer}: {REASONS[reason]}", peer=peer)

    def failed(self, error: Exception, peer: str) -> None:
        """A request met a fault of the server's own; of each kind of exception a line now and then
        says so, with its traceback.
        """
        words = "a request failed"
        self._faults.say(type(error).__qualname__, words, error=error, peer=peer)

    def close(self) -> None:
        """Say how many refusals and faults were left out since their last line."""
        self._seldom.close()
        self._faults.close()

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
            each_us: microseconds in each body, where the engine runs them one by one; with a graph
                of all bodies, and on a GPU, nobody knows them.
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
            line: dict[str, Any] = {
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
            if each_us:
                line["each_us"] = dict(zip(self._bodies, each_us, strict=True))
            write_line(self._log, line)


class _Frames(Collector):
    """What became of a tap's frames, which it counts itself."""

    def __init__(self, stats: Callable[[], TapStats]) -> None:
        self._stats = stats

    def collect(self) -> Iterator[CounterMetricFamily]:
        now = self._stats()
        yield CounterMetricFamily("splitlab_tap_frames", "messages that the tap kept", now.frames)
        yield CounterMetricFamily(
            "splitlab_tap_dropped_frames", "messages that the tap lost", now.dropped
        )
