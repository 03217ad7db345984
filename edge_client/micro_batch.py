"""One micro-batch on its way: head -> protect -> encode -> servers -> decode -> select -> tail."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from edge_client.half import UsedHalf
from edge_client.holders import HeldCall, Holders
from edge_client.ledger import Ledger
from edge_client.stages import Span, journey, waited
from splitlab.errors import BadInput, ServerRefused, foreign
from splitlab.randomness import KeyedDraw
from splitlab.wire import Reply, Request, WireTensor, decode, encode, reply_datatype
from splitlab.wire.messages import DIGEST, Parameter
from splitlab.wire.request_ids import message_id

STAGES = {"decode": "codec", "queue": "queue", "bodies": "bodies", "encode": "codec"}
"""What a server times, in the order in which it does it -> where the ledger puts it."""


class MicroBatch:
    """Does everything up to the wire at once; `finish` waits for the answers and does the rest.

    Args:
        half: the client half.
        head: of that half, for inference.
        groups: servers with the same bodies each; together they hold all outputs.
        images: float [b, 3, H, W] in [0, 1].
        request_id, first_row: where these images stand in which request; they key the noise.
        ledger: is told what it costs.
    """

    def __init__(
        self,
        half: UsedHalf,
        head: Callable[[Tensor], Tensor],
        groups: Sequence[Holders],
        images: Tensor,
        request_id: str,
        first_row: int,
        ledger: Ledger,
    ) -> None:
        self._half, self._ledger, self._rows = half, ledger, len(images)
        self._id = message_id(request_id, first_row)
        self._draw = KeyedDraw(half.secret, request_id, first_row)
        with torch.inference_mode():
            with ledger.stage("head"):
                feature = head(images)
            with ledger.stage("protect"):
                feature = half.protect(feature, self._draw)
        with ledger.stage("encode"):
            tensors = tuple(encode(feature, half.wire))
            raws = [self._request(tensors, holders) for holders in groups]
        payload = sum(len(tensor.data) for tensor in tensors)
        self._calls: list[tuple[Holders, HeldCall]] = []
        for holders, raw in zip(groups, raws, strict=True):
            ledger.sent(payload, raw)
            handed = time.perf_counter()
            self._calls.append((holders, holders.start(raw)))
            ledger.waited({"network": time.perf_counter() - handed})

    def finish(self) -> Tensor:
        """Logits [b, classes].

        Raises:
            ServerUnavailable, ServerRefused, Mismatch: a server failed, or answered nonsense.
        """
        outputs: dict[str, Tensor] = {}
        slowest: tuple[HeldCall, Reply] | None = None
        for holders, call in self._calls:
            since = time.perf_counter()
            raw = call.result()
            until = time.perf_counter()
            self._ledger.resent(call.resent, call.raw)
            self._ledger.failed.update(call.failed)
            self._ledger.answered[call.transport.address] += 1
            try:
                with self._ledger.stage("decode"):
                    reply = Reply.from_bytes(raw)
                    outputs |= self._decoded(reply, holders.outputs)
            except BadInput as error:
                raise ServerRefused(
                    f"{call.transport.address} answered with something else than was asked for: "
                    f"{error}; use the two halves of one deployment"
                ) from error
            self._ledger.waited(waited(since, until, _journey(call, reply)))
            self._ledger.received(sum(len(tensor.data) for tensor in reply.tensors), raw)
            if slowest is None or call.total_seconds > slowest[0].total_seconds:
                slowest = call, reply
        if slowest is not None:
            self._note(*slowest)
        with torch.inference_mode(), self._ledger.stage("tail"):
            ordered = [outputs[f"output_{i}"] for i in range(len(self._half.outputs))]
            return self._half.tail(self._half.select(ordered, self._draw))

    def cancel(self) -> None:
        """Give up on it."""
        for _, call in self._calls:
            call.cancel()

    def _request(self, tensors: tuple[WireTensor, ...], holders: Holders) -> bytes:
        """The client asks for everything a server holds, in order, whatever the selector."""
        return Request(
            model_name=self._half.model_name,
            message_id=self._id,
            tensors=tensors,
            outputs=holders.outputs,
            parameters={DIGEST: self._half.digest},
        ).to_bytes()

    def _decoded(self, reply: Reply, names: Sequence[str]) -> dict[str, Tensor]:
        if reply.message_id != self._id:
            raise BadInput(f"id '{foreign(reply.message_id)}', {self._id!r} was wanted")
        decoded = {}
        for name in names:
            shape = self._half.outputs[int(name.removeprefix("output_"))]
            datatype = reply_datatype(self._half.wire)
            output = decode(reply.tensors, name=name, datatype=datatype, shape=shape)
            if len(output) != self._rows:
                raise BadInput(f"{name} has {len(output)} rows, {self._rows} were wanted")
            decoded[name] = output
        return decoded

    def _note(self, call: HeldCall, reply: Reply) -> None:
        """Part the slowest server's round trip into its own time and the network's."""
        server = server_seconds(reply.parameters, call.seconds)
        self._ledger.add_seconds("network", call.seconds - sum(server.values()))
        if call.lost_seconds:
            self._ledger.add_seconds("retry", call.lost_seconds)
        for stage, spent in server.items():
            self._ledger.add_seconds(stage, spent)


def _journey(call: HeldCall, reply: Reply) -> list[Span]:
    started = call.started
    told = server_times(reply.parameters, call.seconds)
    return journey(started - call.lost_seconds, started, started + call.seconds, told)


def server_seconds(told: Mapping[str, Parameter], longest: float) -> dict[str, float]:
    """What a server says of its own time: seconds in queue, codec and bodies, as far as it can be.

    Empty where nothing is there that is true of a round trip of `longest` seconds.
    """
    times = server_times(told, longest)
    if not times:
        return {}
    names = ("queue", "codec", "bodies")
    return {name: sum(spent for stage, spent in times if stage == name) for name in names}


def server_times(told: Mapping[str, Parameter], longest: float) -> list[tuple[str, float]]:
    """Stage and seconds of what a server did, one after another.

    Nothing that it says is taken on trust: whatever is not a number of microseconds between 0 and
    `longest` seconds, the round trip's, is left out.
    """
    found = []
    for name, stage in STAGES.items():
        value = told.get(f"splitlab_{name}_us")
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if 0 <= value <= longest * 1e6:  # neither NaN nor Inf
            found.append((stage, value / 1e6))
    return found
