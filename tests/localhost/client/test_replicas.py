"""Several servers and several holders of one body: same bytes, no image lost, errors with names."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable

import grpc
import pytest
import torch
from flaky import Flaky
from halves import Client, Server, images

from cloud_server.server import CloudServer
from edge_client import transport
from edge_client.client import EdgeClient
from splitlab.errors import BadInput, Mismatch, ServerRefused, ServerUnavailable

Make = Callable[..., Flaky]
Serve = Callable[..., CloudServer]
ID = "0123456789abcdef0123456789abcdef"
GONE = grpc.StatusCode.UNAVAILABLE
SLOW = grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_PAUSE_S", 0.001)


def nobody() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


def alone(half: Client, x: torch.Tensor, make: Make, server: Server | None = None) -> torch.Tensor:
    """The answer of one server that never fails."""
    with EdgeClient(half, [make(half=server).address]) as client:
        return client.infer(x, request_id=ID).logits


def test_several_servers_answer_as_one_bit_for_bit_at_the_same_cost(flaky: Make) -> None:
    half, x = Client(total=4, chosen=(3, 0), noise=0.2), images(20)
    with EdgeClient(half, [flaky(half=Server(body_ids=[0, 1, 2, 3])).address]) as client:
        wanted = client.infer(x, request_id=ID)
    servers = [flaky(half=Server(body_ids=ids)) for ids in ([1, 3], [0], [2])]
    with EdgeClient(half, [server.address for server in servers]) as client:
        given = client.infer(x, request_id=ID)
        assert list(client.servers.values()) == [[1, 3], [0], [2]]
    assert torch.equal(given.logits, wanted.logits)
    assert given.payload_up == 3 * wanted.payload_up
    assert given.payload_down == wanted.payload_down == 20 * 4 * 5 * 4
    assert given.messages == 9
    assert given.answered == {server.address: 3 for server in servers}
    assert (given.retries, given.bytes_resent, given.failed) == (0, 0, {})


@pytest.mark.parametrize("code", [GONE, SLOW, grpc.StatusCode.CANCELLED])
def test_another_holder_is_sent_the_same_bytes(flaky: Make, code: grpc.StatusCode) -> None:
    bad, good = flaky(lambda _: code), flaky()
    half, x = Client(noise=0.3), images(20)
    addresses = [bad.address, good.address]
    with EdgeClient(half, addresses, replicas=True, retries=0, window=1) as client:
        result = client.infer(x, request_id=ID)
    assert torch.equal(result.logits, alone(half, x, flaky))
    assert len(bad.raws) == 1  # it rests after its failure
    assert len(good.raws) == len(set(good.raws)) == 3  # no image is lost, none is sent twice
    assert bad.raws[0] == good.raws[0]
    assert (result.retries, result.failed) == (1, {bad.address: 1})
    assert result.answered == {good.address: 3}
    assert result.bytes_resent == len(bad.raws[0]) + 5
    assert len(result.latency["retry"]) == 1


def test_a_holder_that_fails_now_and_then_is_asked_again_when_the_others_fail(flaky: Make) -> None:
    first = flaky(lambda attempt: GONE if attempt == 1 else None)
    second = flaky(lambda attempt: GONE if attempt > 1 else None)
    half, x = Client(noise=0.3), images(40)
    with EdgeClient(half, [first.address, second.address], replicas=True, window=1) as client:
        result = client.infer(x, request_id=ID)
    assert torch.equal(result.logits, alone(half, x, flaky))
    assert result.failed == {first.address: 1, second.address: 1}
    assert result.answered == {first.address: 4, second.address: 1}


def test_holders_take_turns(flaky: Make) -> None:
    servers = [flaky() for _ in range(3)]
    with EdgeClient(Client(), [each.address for each in servers], replicas=True) as client:
        client.infer(images(48))
    assert [len(each.raws) for each in servers] == [2, 2, 2]


def test_attempts_are_bounded_and_all_holders_are_named(flaky: Make) -> None:
    servers = [flaky(lambda _: GONE) for _ in range(2)]
    addresses = [each.address for each in servers]
    with (
        EdgeClient(Client(), addresses, replicas=True, retries=3) as client,
        pytest.raises(
            ServerUnavailable, match=rf"output_0: no holder \({', '.join(addresses)}\).* 5 attempts"
        ),
    ):
        client.infer(images(2))
    raws = [raw for each in servers for raw in each.raws]
    assert Counter(raws) == {raws[0]: 5}


def test_slow_holders_are_asked_once_each(flaky: Make) -> None:
    servers = [flaky(lambda _: SLOW) for _ in range(2)]
    with (
        EdgeClient(Client(), [each.address for each in servers], replicas=True) as client,
        pytest.raises(ServerUnavailable, match="did not answer within 30 s"),
    ):
        client.infer(images(2))
    assert [len(each.raws) for each in servers] == [1, 1]


def test_a_server_that_says_no_is_not_passed_over(flaky: Make) -> None:
    bad, good = flaky(lambda _: grpc.StatusCode.INVALID_ARGUMENT), flaky()
    with (
        EdgeClient(Client(), [bad.address, good.address], replicas=True) as client,
        pytest.raises(ServerRefused, match=f"{bad.address} refused with INVALID_ARGUMENT"),
    ):
        client.infer(images(2))
    assert not good.raws


@pytest.mark.parametrize("code", [GONE, SLOW])
def test_without_replicas_one_failing_server_is_named_with_its_outputs(
    flaky: Make, code: grpc.StatusCode
) -> None:
    good = flaky(half=Server(body_ids=[0]))
    bad = flaky(lambda _: code, Server(body_ids=[1, 2]))
    with (
        EdgeClient(Client(total=3), [good.address, bad.address], retries=1) as client,
        pytest.raises(
            ServerUnavailable, match=rf"{bad.address} \(which holds output_1, output_2\) d"
        ),
    ):
        client.infer(images(2))


def test_a_server_that_is_not_there_is_named_with_what_is_then_missing(serve: Serve) -> None:
    there, absent = serve(Server(body_ids=[0, 2])).address, nobody()
    for replicas in (False, True):
        with (
            EdgeClient(Client(total=3), [absent, there], retries=0, replicas=replicas) as client,
            pytest.raises(
                ServerUnavailable, match=rf"{absent} does not .*no other server holds output_1$"
            ),
        ):
            client.handshake()


def test_with_replicas_a_server_that_is_not_there_is_done_without(flaky: Make) -> None:
    half, x, absent = Client(total=2, chosen=(1,)), images(9), nobody()
    servers = [flaky(half=Server(body_ids=[i])).address for i in (0, 1)]
    with EdgeClient(half, [servers[0], absent, servers[1]], replicas=True, retries=0) as client:
        given = client.infer(x, request_id=ID).logits
        assert client.servers == {servers[0]: [0], absent: [], servers[1]: [1]}
    assert torch.equal(given, alone(half, x, flaky, Server(body_ids=[0, 1])))
    with (
        EdgeClient(half, [servers[0], absent, servers[1]], retries=0) as client,
        pytest.raises(ServerUnavailable, match=f"{absent} does not answer"),
    ):
        client.handshake()


def test_who_may_hold_what(serve: Serve) -> None:
    both, one, again = (serve(Server(body_ids=ids)).address for ids in ([0, 1], [1], [1]))
    half = Client(total=2)
    for addresses, replicas, words in (
        ([both, one], True, f"output_1 is held by {both} and by {one}; replicas must hold the sa"),
        ([one, again], False, f"output_1 is held by {one} and by {again}; .* or say --replicas"),
        ([one, again], True, "no server holds output_0"),
    ):
        with (
            EdgeClient(half, addresses, replicas=replicas) as client,
            pytest.raises(Mismatch, match=words),
        ):
            client.handshake()
    with pytest.raises(BadInput, match=f"{both} is given twice"):
        EdgeClient(half, [both, one, both], replicas=True)
