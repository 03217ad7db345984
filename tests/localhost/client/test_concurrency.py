"""Many clients at once, and a stop that finishes what is under way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
import torch
from grpc_health.v1 import health_pb2, health_pb2_grpc
from halves import Client, Server, images

from cloud_server.guard.in_flight import InFlight
from cloud_server.server import CloudServer
from edge_client.client import EdgeClient
from splitlab.errors import ServerUnavailable
from splitlab.wire.messages import SERVICE

Serve = Callable[..., CloudServer]
SECONDS = 120


def test_concurrent_clients_get_their_own_answers(serve: Serve) -> None:
    address, half = serve().address, Client()
    bodies = Server().bodies

    def work(seed: int) -> bool:
        x = images(11, seed)
        with EdgeClient(half, [address]) as client:
            given = client.infer(x).logits
        wanted = half.whole(x, bodies)
        return bool((given - wanted).abs().max() <= 1e-5 * wanted.abs().max())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(16)))


class Gate(torch.nn.Module):
    """A body that says that it runs, and waits until it is let go."""

    def __init__(self, inside: torch.nn.Module) -> None:
        super().__init__()
        self.inside = inside
        self.entered, self.go = threading.Event(), threading.Event()

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        self.entered.set()
        assert self.go.wait(SECONDS)
        return self.inside(z)


@pytest.fixture
def gated() -> tuple[Server, Gate]:
    half = Server()
    gate = Gate(half.bodies[0])
    half.bodies[0] = gate
    return half, gate


def test_stop_finishes_requests_under_way_and_refuses_new_ones(
    serve: Serve, gated: tuple[Server, Gate]
) -> None:
    half, gate = gated
    server = serve(half)
    with (
        ThreadPoolExecutor(2) as pool,
        EdgeClient(Client(), [server.address]) as client,
        EdgeClient(Client(), [server.address], retries=0) as late,
        grpc.insecure_channel(server.address) as channel,
    ):
        late.handshake()
        watch = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(service=SERVICE), timeout=SECONDS
        )
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        under_way = pool.submit(client.infer, images(2))
        assert gate.entered.wait(SECONDS)
        stopped = pool.submit(server.stop, SECONDS)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        while not server._servicer.in_flight.draining:
            pass
        with pytest.raises(ServerUnavailable, match=r"does not answer .*the server is stopping"):
            late.infer(images(2))
        assert not under_way.done()
        gate.go.set()
        assert torch.isfinite(under_way.result().logits).all()
        assert stopped.result() is True


def test_quiet_is_waited_for_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("cloud_server.guard.in_flight.time.monotonic", lambda: clock[0])
    under_way = InFlight()
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        clock[0] += seconds
        if len(waits) == 1:
            with under_way as served:
                assert not served
        return False

    under_way.drain(0)
    monkeypatch.setattr(under_way._condition, "wait", wait)
    under_way.wait_for_quiet(0.25, at_most=2)
    assert waits == [0.25, 0.25]  # one more for the request that came meanwhile
    clock[0] += 1
    with under_way:
        pass
    under_way.wait_for_quiet(5, at_most=2)
    assert waits[2:] == [2]


def test_a_request_that_does_not_end_does_not_hold_the_stop_forever(
    serve: Serve, gated: tuple[Server, Gate]
) -> None:
    half, gate = gated
    server = serve(half)
    with ThreadPoolExecutor(1) as pool, EdgeClient(Client(), [server.address]) as client:
        client.handshake()
        lost = pool.submit(client.infer, images(2))
        assert gate.entered.wait(SECONDS)
        assert server._servicer.in_flight.drain(0.01) is False
        gate.go.set()
        lost.result()
