"""Messages wait as long as they would on the link that is simulated."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import grpc
import pytest
import torch
from halves import Client, images

from cloud_server.server import CloudServer
from edge_client.client import EdgeClient
from edge_client.one_way import PACKET, SEGMENT, OneWay, Wire
from edge_client.simulated_link import AccessLink, SimulatedLink
from splitlab.contracts.link import LINKS, Link, parse_link
from splitlab.errors import BadInput, ServerUnavailable

Serve = Callable[..., CloudServer]


def test_a_message_takes_its_bytes_and_half_a_round_trip() -> None:
    way = OneWay(1e6, 0.04, 0.0, 1)
    bits = 8 * 10 * PACKET
    assert way.arrival(10 * SEGMENT, 100.0) == pytest.approx(100.02 + bits / 1e6)
    # sent at the same time: it leaves behind the first, and arrives as much later
    assert way.arrival(10 * SEGMENT, 100.0) == pytest.approx(100.02 + 2 * bits / 1e6)
    assert way.arrival(1, 200.0) == pytest.approx(200.02 + 8 * (1 + PACKET - SEGMENT) / 1e6)


def test_servers_share_the_rates_of_their_client_s_link() -> None:
    """Two requests of one moment, to two servers, leave one behind the other; an answer does not
    wait for requests.
    """
    access, bits = AccessLink(Link("l", 0.04, 1e6, 2e6)), 8 * 10 * PACKET
    (up, down), (other_up, other_down) = access.connection(), access.connection()
    assert up.arrival(10 * SEGMENT, 100.0) == pytest.approx(100.02 + bits / 1e6)
    assert other_up.arrival(10 * SEGMENT, 100.0) == pytest.approx(100.02 + 2 * bits / 1e6)
    assert down.arrival(10 * SEGMENT, 100.0) == pytest.approx(100.02 + bits / 2e6)
    assert other_down.arrival(10 * SEGMENT, 100.0) == pytest.approx(100.02 + 2 * bits / 2e6)
    assert up.arrival(10 * SEGMENT, 100.5) == pytest.approx(100.52 + bits / 1e6)  # it is idle again


def test_a_connection_that_waits_for_its_window_leaves_the_wire_to_the_others() -> None:
    """20 packets of one are a window, and a round trip later another; 10 of another fit between."""
    access, each = AccessLink(Link("l", 0.04, 1e8, 1e8)), 8 * PACKET / 1e8
    (up, _), (other, _) = access.connection(), access.connection()
    assert up.arrival(20 * SEGMENT, 0.0) == pytest.approx(0.04 + 10 * each + 0.02)
    assert other.arrival(10 * SEGMENT, 0.0) == pytest.approx(20 * each + 0.02)


def test_a_wire_gives_no_second_twice() -> None:
    wire = Wire()
    assert wire.take(10.0, 1.0) == 11.0
    assert wire.take(12.0, 1.0) == 13.0
    assert wire.take(9.5, 2.0) == 13.5  # half a second before, one between, half a second behind
    assert wire.take(9.5, 1.0) == 14.5
    assert wire.take(20.0, 1.0) == 21.0
    wire.forget(14.5)
    assert wire.take(14.5, 6.0) == 21.5


class PlainWire:
    """The same in few words: everything that is taken is looked at, each time."""

    def __init__(self) -> None:
        self.taken: list[tuple[float, float]] = []

    def take(self, begun: float, left: float) -> float:
        through = begun
        for start, end in self.taken:
            if end <= through:
                continue
            if through + left <= start:
                break
            left -= max(0.0, start - through)
            through = end
        through += left
        met = [one for one in self.taken if one[0] <= through and one[1] >= begun]
        rest = [one for one in self.taken if one not in met]
        whole = [(begun, through), *met]
        self.taken = sorted([*rest, (min(whole)[0], max(end for _, end in whole))])
        return through


@pytest.mark.parametrize("grain", [0.25, 1e-9])
def test_what_is_taken_is_the_same_to_the_last_bit_as_in_plain_words(grain: float) -> None:
    """On a coarse grain, where times meet and seconds may be none, and on a fine one."""
    draw, wire, plain = random.Random(5), Wire(), PlainWire()
    for step in range(3000):
        begun = grain * round(draw.uniform(step / 3, step / 3 + 50) / grain)
        seconds = grain * round(draw.expovariate(4.0) / grain)
        assert wire.take(begun, seconds) == plain.take(begun, seconds)
        if step % 50 == 0:
            now = grain * round(step / 3 / grain)
            wire.forget(now)
            plain.taken = [one for one in plain.taken if one[1] > now]
        assert wire._taken == plain.taken
    assert len(plain.taken) > 20


@pytest.mark.parametrize("loss", [0.0, 0.01])
def test_together_servers_are_no_faster_than_the_link(loss: float) -> None:
    """Each is given a long message at once: the last is through when the wire has sent them all."""
    access, packets = AccessLink(Link("l", 0.02, 1e7, 1e7, loss)), 2000
    ended = [access.connection()[0].arrival(packets * SEGMENT, 0.0) for _ in range(3)]
    least = 3 * packets * 8 * PACKET / 1e7
    assert least <= max(ended) <= (1.05 if loss == 0 else 1.5) * least


def test_a_client_has_one_link_for_all_its_servers() -> None:
    link = Link("l", 0.04, 1e6, 1e6)
    with EdgeClient(Client(), ["127.0.0.1:1", "127.0.0.1:2"], link=link) as client:
        ways = [transport._link for transport in client._transports]
        assert len({id(way._up._wire) for way in ways if way}) == 1
        assert len({id(way._down._wire) for way in ways if way}) == 1
        assert len({id(way._up) for way in ways if way}) == 2
        assert ways[0]._up._wire is not ways[0]._down._wire


@pytest.mark.parametrize("rtt", [0.01, 0.1])
@pytest.mark.parametrize("loss", [0.001, 0.01])
def test_a_long_stream_is_as_fast_as_mathis_says(rtt: float, loss: float) -> None:
    """M / rtt * sqrt(3 / 2p) (Mathis et al. 1997), for a stream that loss alone holds back."""
    packets = 50_000
    seconds = OneWay(1e9, rtt, loss, 1).arrival(packets * SEGMENT, 0.0)
    wanted = SEGMENT * 8 / rtt * (1.5 / loss) ** 0.5
    assert packets * SEGMENT * 8 / seconds == pytest.approx(wanted, rel=0.25)


def test_a_lone_packet_that_is_lost_waits_for_the_timer() -> None:
    way = OneWay(1e9, 0.04, 0.1, 2)
    late = [way.arrival(100, 10.0 * n) - 10.0 * n - 0.02 for n in range(2000)]
    assert sum(value > 0.001 for value in late) / len(late) == pytest.approx(0.1, abs=0.03)
    once = [value for value in late if 0.001 < value < 0.3]
    assert once == pytest.approx([0.24] * len(once), abs=1e-4)


def test_the_first_window_leaves_at_once_and_the_rest_a_round_trip_later() -> None:
    hardly = 1e-12
    within = [OneWay(1e12, 0.04, hardly, 1).arrival(n * SEGMENT, 0.0) for n in (1, 10, 11, 30, 31)]
    assert within == pytest.approx([0.02, 0.02, 0.06, 0.06, 0.1], abs=1e-5)


def test_silence_halves_the_window_for_each_timeout() -> None:
    way = OneWay(1e12, 0.04, 0.0, 1)
    ended = way.arrival(1000 * SEGMENT, 0.0) - 0.02  # with a window of 10 + 1000 packets
    assert way.arrival(600 * SEGMENT, ended + 0.2) == pytest.approx(ended + 0.22, abs=1e-4)
    assert way.arrival(900 * SEGMENT, ended + 0.5) == pytest.approx(ended + 0.56, abs=1e-4)
    assert way.arrival(30 * SEGMENT, ended + 9) == pytest.approx(ended + 9.06, abs=1e-4)


@pytest.mark.parametrize(
    ("rtt", "rate", "size", "gap", "first", "then"),
    [
        (0.02, 50e6, 64 << 10, 0.0, 66.2, 31.9),
        (0.02, 50e6, 64 << 10, 0.3, 66.2, 43.8),
        (0.02, 50e6, 64 << 10, 0.6, 67.4, 63.8),
        (0.02, 50e6, 512 << 10, 0.0, 157.0, 110.9),
        (0.02, 50e6, 512 << 10, 0.6, 156.6, 120.8),
        (0.04, 200e6, 1 << 20, 0.6, 297.9, 135.7),
        (0.04, 200e6, 1 << 20, 1.5, 294.3, 298.1),
    ],
)
def test_without_losses_windows_are_those_of_the_kernel(
    rtt: float, rate: float, size: int, gap: float, first: float, then: float
) -> None:
    """ms that Linux 6's TCP took through `bench/perf/serving/packet_relay.py`, the answer 8 bytes:
    a connection's first message, and the mean of those that follow, each `gap` s after an answer.
    """
    up, down, now, found = OneWay(rate, rtt, 0.0, 1), OneWay(rate, rtt, 0.0, 2), 0.0, []
    for _ in range(20):
        back = down.arrival(8, up.arrival(8 + size, now))
        found.append(1000 * (back - now))
        now = back + gap
    assert found[0] == pytest.approx(first, rel=0.1)
    assert sum(found[5:]) / 15 == pytest.approx(then, rel=0.1)


@pytest.mark.parametrize("silence", [0.0, 9.0])
def test_hardly_any_loss_is_as_none(silence: float) -> None:
    for size in (1000, 64 << 10, 1 << 20):
        none, hardly, now = OneWay(1e9, 0.04, 0.0, 1), OneWay(1e9, 0.04, 1e-12, 1), 0.0
        for _ in range(5):
            there = none.arrival(size, now)
            assert hardly.arrival(size, now) == there
            now = there + 0.02 + silence


def test_a_client_behind_a_link_waits_and_answers_the_same(serve: Serve) -> None:
    address, x = serve().address, images(8)
    with EdgeClient(Client(), [address]) as client:
        wanted = client.infer(x).logits
    link = Link("slow", 0.1, 1e6, 1e6)
    with EdgeClient(Client(), [address], link=link) as client:
        client.infer(x)
        found = client.infer(x)
    assert torch.equal(found.logits, wanted)
    least = link.rtt + 8 * (found.bytes_up + found.bytes_down) / 1e6
    assert found.seconds >= least
    assert sum(found.latency["network"]) >= 1000 * least - 1


def test_micro_batches_share_the_link_and_not_the_round_trip(serve: Serve) -> None:
    link = Link("far", 0.2, 1e9, 1e9)
    with EdgeClient(Client(max_rows=2), [serve().address], link=link, window=8) as client:
        found = client.infer(images(16))
    assert found.messages == 8
    one_after_another = sum(found.latency["network"]) / 1000
    assert one_after_another > 8 * 0.2 - 0.001
    assert found.seconds < one_after_another / 2


def test_the_deadline_holds_on_the_link(serve: Serve) -> None:
    link = Link("dead slow", 0.1, 1e3, 1e6)
    with (
        EdgeClient(Client(), [serve().address], link=link, deadline_s=0.3) as client,
        pytest.raises(ServerUnavailable, match=r"did not answer within 0\.3 s"),
    ):
        client.infer(images(8))


def test_a_link_that_is_closed_fails_what_is_on_it() -> None:
    """A message on its way, one with the server, and one that comes too late."""
    asked = threading.Event()

    class Unanswered:
        cancelled = False

        def add_done_callback(self, _: object) -> None:
            asked.set()

        def cancel(self) -> None:
            self.cancelled = True

    call = Unanswered()
    distant, close = Link("far", 7200.0, 1e9, 1e9), Link("near", 0.0, 1e12, 1e12)
    far = SimulatedLink(AccessLink(distant), lambda _raw, _left: call, 1e6)
    near = SimulatedLink(AccessLink(close), lambda _raw, _left: call, 1e6)
    pendings = [far.send(b"a"), near.send(b"b")]
    given_up = far.send(b"c")
    assert given_up.cancel()
    assert asked.wait(10)
    for link in (far, near):
        link.close()
    pendings.append(near.send(b"d"))
    for pending in pendings:
        with pytest.raises(grpc.RpcError, match="the client was closed") as failed:
            pending.result(0)
        assert failed.value.code() is grpc.StatusCode.CANCELLED
    assert call.cancelled
    assert not far._open | near._open


def test_links_are_read() -> None:
    assert parse_link("lte") is LINKS["lte"]
    link = parse_link("rtt=40ms,up=10mbps,down=0.5gbps,loss=1%")
    assert (link.rtt, link.up, link.down, link.loss) == (0.04, 1e7, 5e8, 0.01)
    assert parse_link(str(link).replace("500mbps", "500 mbps").replace(" ", "")).down == 5e8


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("dsl", "known are wifi, lte, 5g, fiber"),
        ("rtt=40ms,up=1mbps", "down is missing"),
        ("rtt=40,up=1mbps,down=1mbps", "rtt='40'; wanted a number with s, ms, us"),
        ("rtt=1ms,up=1mbps,down=1mbps,up=2mbps", "each once"),
        ("rtt=1ms,up=1mbps,down=-1mbps", "down='-1mbps'"),
        ("rtt=1ms,up=0bps,down=1mbps", "rates from 1kbps"),
        ("rtt=1ms,up=1mbps,down=1mbps,loss=90%", "loss to 50%"),
        ("colour=red", "wanted rtt, up, down and loss"),
    ],
)
def test_what_is_no_link(text: str, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        parse_link(text)
