"""The server: port, pool of threads, health, reflection, and a stop that finishes its work."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TextIO

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from cloud_server.engines.choose import Chosen
from cloud_server.engines.engine import TOGETHER, Engine
from cloud_server.guard.admission import LINGERING
from cloud_server.guard.connections import room_for
from cloud_server.guard.gate import Gate
from cloud_server.guard.limits import Limits
from cloud_server.guard.token_check import TokenCheck
from cloud_server.half import ServedHalf
from cloud_server.handler import Handler, held_per_byte, largest_held, largest_request
from cloud_server.servicer import Servicer
from cloud_server.watch.health import Health
from cloud_server.watch.metrics_port import MetricsPort
from cloud_server.watch.telemetry import Telemetry
from splitlab.capture import CaptureWriter
from splitlab.wire import micro_batch_rows
from splitlab.wire.channels import Tls, bind, server_options, split_address
from splitlab.wire.messages import SERVICE

DOORKEEPERS = 16
"""Threads for calls that are refused, each of which takes a moment."""
AT_THE_DOOR = 4096
"""Calls that may wait for a thread, for a moment too; more are refused by gRPC itself, in its own
words and uncounted. This bounds memory, and nobody's limits."""
LAST_ARRIVALS_SECONDS = 2.0  # for requests that were on their way when the stop began
LAST_BYTES_SECONDS = 2.0  # for replies that are on their way out when all work is done


class CloudServer:
    """Serves one server half.

    Args:
        half: what to serve.
        listen: HOST:PORT; port 0 picks a free one.
        tap: keeps what passes; its owner closes it after `stop`.
        insecure: allow plaintext off loopback.
        tls: certificate files; None for plaintext.
        threads: threads of one forward pass; None for as many as the caller's own.
        engine: how the bodies are run, see `cloud_server.engines`.
        bfloat16: take products in BF16.
        together: rows of waiting requests that may go through the bodies at once.
        device: "auto", "cpu" or "cuda".
        token: what every caller must show, checks of the health service aside; None for nothing.
        limits: what is granted to a peer, and to all of them.
        log: where a line for each inference request goes; None for nowhere.
        metrics: HOST:PORT that Prometheus reads; None for none.
        metrics_open: allow that off loopback.

    Raises:
        BadInput: the port is taken, the address is none, plaintext off loopback, less memory than
            the largest request takes, or more connections than this process may have files open.
    """

    def __init__(
        self,
        half: ServedHalf,
        listen: str,
        *,
        tap: CaptureWriter | None = None,
        insecure: bool = False,
        tls: Tls | None = None,
        threads: int | None = None,
        engine: str = "torch",
        bfloat16: bool = False,
        together: int = TOGETHER,
        device: str = "cpu",
        token: str | None = None,
        limits: Limits | None = None,
        log: TextIO | None = None,
        metrics: str | None = None,
        metrics_open: bool = False,
    ) -> None:
        limits = limits or Limits()
        largest, held = largest_request(half), largest_held(half)
        limits.check(held)
        self.host, _ = split_address(listen, "--listen")
        connections = room_for(limits.connections, self.host)
        # A call that was admitted holds a thread; more threads refuse those that are not.
        workers = limits.calls + LINGERING + DOORKEEPERS
        self._engine = Engine(
            list(half.bodies),
            half.feature.shape,
            name=engine,
            rows=micro_batch_rows(half.feature.shape, half.wire, half.max_rows),
            threads=threads,
            device=device,
            bfloat16=bfloat16,
            together=together,
        )
        handler = Handler(half, self._engine)
        telemetry = Telemetry(half.body_ids, log)
        self._servicer = Servicer(handler, tap, limits, telemetry)
        refused = telemetry.refused
        self._gate = Gate(limits, held, telemetry.call, held_per_byte(half), refused)
        telemetry.watch(lambda: self._gate.admission.open)
        if tap is not None:
            telemetry.watch_tap(lambda: tap.stats)
        self._telemetry = telemetry
        self._metrics: MetricsPort | None = None
        self._health = Health(refused)
        asking = []
        if token is not None:
            patience = self._gate.patience
            asking = [TokenCheck(token, telemetry.call, self._health, patience, refused)]
        self._server = grpc.server(
            ThreadPoolExecutor(workers, thread_name_prefix="rpc"),
            options=server_options(largest, limits.peer_calls, connections),
            interceptors=[*asking, self._gate],
            maximum_concurrent_rpcs=workers + AT_THE_DOOR,
        )
        self._server.add_generic_rpc_handlers((self._servicer.handlers(),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        try:
            if metrics is not None:
                self._metrics = MetricsPort(telemetry.registry, metrics, off_loopback=metrics_open)
            self.port = bind(self._server, listen, insecure=insecure, tls=tls, token=token)
        except Exception:
            self._close()
            raise

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def engine(self) -> Chosen:
        """The engine that runs, its error, and what was measured to choose it."""
        return self._engine.chosen

    @property
    def metrics_port(self) -> int | None:
        """Where metrics are read, None without."""
        return None if self._metrics is None else self._metrics.port

    def start(self) -> None:
        """Take requests."""
        self._server.start()
        for service in ("", SERVICE):
            self._health.set(service, health_pb2.HealthCheckResponse.SERVING)

    def stop(self, grace: float = 30.0, quiet: float = 0.25) -> bool:
        """Health turns NOT_SERVING, new requests get UNAVAILABLE, those under way are finished.

        Args:
            grace: seconds that requests under way are given.
            quiet: seconds without a new request after which the port is closed.

        Returns:
            Whether all of them ended in time.
        """
        self._health.enter_graceful_shutdown()
        finished = self._servicer.in_flight.drain(grace)
        self._servicer.in_flight.wait_for_quiet(quiet, LAST_ARRIVALS_SECONDS)
        self._server.stop(LAST_BYTES_SECONDS).wait()
        self._close()
        return finished

    def _close(self) -> None:
        self._engine.close()
        self._gate.close()
        if self._metrics is not None:
            self._metrics.close()
        self._telemetry.close()
