"""The trusted side: cuts a request into micro-batches and keeps a window of them under way."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import torch
from torch import Tensor

from edge_client.half import UsedHalf
from edge_client.holders import Holders, distinct, group
from edge_client.ledger import Ledger
from edge_client.micro_batch import MicroBatch
from edge_client.simulated_link import AccessLink
from edge_client.stages import whole
from edge_client.transport import Transport
from splitlab.contracts.link import Link
from splitlab.errors import BadInput, ServerUnavailable
from splitlab.split.quick import quick
from splitlab.wire import micro_batch_rows
from splitlab.wire.channels import Tls
from splitlab.wire.request_ids import new_request_id


@dataclass(frozen=True)
class InferResult:
    """What `EdgeClient.infer` gives.

    Args:
        logits: [B, classes], float32.
        request_id: 32 hex digits; row i of the images went as row i of this request.
        latency: milliseconds by stage, one value for each micro-batch; see `Ledger`. They overlap.
        stages: stage -> milliseconds of the request, which they add up to; see `stages`.
        seconds: wall time of the whole request.
        bytes_up, bytes_down: whole messages with gRPC's header, without HTTP/2 and TCP.
        payload_up, payload_down: raw contents of the tensors alone.
        messages: messages sent.
        retries: attempts beyond the first.
        bytes_resent: whole messages of these attempts, not in `bytes_up`.
        answered, failed: attempts by server (HOST:PORT).
    """

    logits: Tensor = field(repr=False)
    request_id: str
    latency: dict[str, list[float]] = field(repr=False)
    stages: dict[str, float] = field(repr=False)
    seconds: float
    bytes_up: int
    bytes_down: int
    payload_up: int
    payload_down: int
    messages: int
    retries: int
    bytes_resent: int
    answered: dict[str, int] = field(repr=False)
    failed: dict[str, int] = field(repr=False)


class EdgeClient:
    """Sends images through head, wire and tail. Use as a context manager, or `close` it.

    Args:
        half: the client half.
        servers: HOST:PORT of each server; several hold different bodies of one deployment.
        replicas: allow servers with the same bodies; they take turns, and where one is dead or
            exceeds the deadline, the same bytes go to another.
        deadline_s: seconds that one attempt of one micro-batch may take.
        retries: further attempts after the first, on UNAVAILABLE only and with the same bytes.
        window: micro-batches under way at a time.
        insecure: allow plaintext off loopback.
        tls: certificate files; None for plaintext.
        token: shown to every server with every call.
        notice: is told in words when a server fails, stalls or answers again.
        link: simulated between this client and its servers, which share its rates as they do a
            client's access link; None for none.

    Raises:
        BadInput: no server, one twice as its own replica, an address that is none, or plaintext
            off loopback.
    """

    def __init__(
        self,
        half: UsedHalf,
        servers: Sequence[str],
        *,
        replicas: bool = False,
        deadline_s: float = 30.0,
        retries: int = 4,
        window: int = 8,
        insecure: bool = False,
        tls: Tls | None = None,
        token: str | None = None,
        notice: Callable[[str], None] = lambda _: None,
        link: Link | None = None,
    ) -> None:
        if not servers:
            raise BadInput("--server: give HOST:PORT of at least one server")
        if replicas:
            distinct(servers)
        self._half, self._window, self._replicas = half, max(1, window), replicas
        picture = torch.rand(2, *half.input.shape, generator=torch.Generator().manual_seed(0))
        self._head = quick(half.head, picture)
        self._transports: list[Transport] = []
        self._groups: list[Holders] = []
        access = None if link is None else AccessLink(link)
        for address in servers:
            self._transports.append(
                Transport(
                    address,
                    half,
                    deadline_s=deadline_s,
                    retries=retries,
                    insecure=insecure,
                    tls=tls,
                    token=token,
                    notice=notice,
                    link=access,
                )
            )

    @property
    def rows(self) -> int:
        """Rows of one micro-batch: about 1 MiB, at most what the deployment declares."""
        half = self._half
        return micro_batch_rows(half.feature.shape, half.wire, half.max_rows)

    @property
    def servers(self) -> dict[str, list[int]]:
        """Address -> ids of the bodies held there; none where the handshake met nobody."""
        return {transport.address: transport.bodies for transport in self._transports}

    def handshake(self) -> None:
        """Check that every server belongs to this half and that together they hold all outputs.

        With replicas, a server that does not answer is done without where others hold all.

        Raises:
            ServerUnavailable, ServerRefused: a server does not answer, or says no.
            Mismatch: another deployment, an output that none holds, or, without replicas, one
                that more than one holds.
        """
        with ThreadPoolExecutor(len(self._transports)) as pool:
            absent = [error for error in pool.map(_greet, self._transports) if error is not None]
        wanted = [f"output_{i}" for i in range(len(self._half.outputs))]
        there = [transport for transport in self._transports if transport.outputs]
        held = {name for transport in there for name in transport.outputs}
        missing = [name for name in wanted if name not in held]
        if absent and (missing or not self._replicas):
            without = f"; no other server holds {', '.join(missing)}" if there and missing else ""
            raise ServerUnavailable(f"{absent[0]}{without}") from absent[0]
        self._groups = group(there, wanted, self._replicas)

    def infer(self, images: Tensor, *, request_id: str | None = None) -> InferResult:
        """Classify images.

        Args:
            images: float [B, 3, H, W] in [0, 1].
            request_id: 32 hex digits, for reproduction only; default fresh from the operating
                system. Noise is keyed by it, so one id must never serve two different requests.

        Raises:
            BadInput: no images, or of another shape than the head takes.
            ServerUnavailable, ServerRefused, Mismatch: see `handshake`.
        """
        wanted = self._half.input.shape
        if images.dim() != 4 or tuple(images.shape[1:]) != wanted or not len(images):
            raise BadInput(f"images have shape {list(images.shape)}, {['B', *wanted]} is taken")
        started = time.perf_counter()
        if not self._groups:
            self.handshake()
        request_id = request_id or new_request_id()
        ledger = Ledger()
        logits: list[Tensor] = []
        window: deque[MicroBatch] = deque()
        try:
            for first_row in range(0, len(images), self.rows):
                batch = images[first_row : first_row + self.rows]
                while len(window) >= self._window:
                    logits.append(window[0].finish())
                    window.popleft()  # until then a failure cancels it with the others
                window.append(
                    MicroBatch(
                        self._half, self._head, self._groups, batch, request_id, first_row, ledger
                    )
                )
            while window:
                logits.append(window[0].finish())
                window.popleft()
        finally:
            for left in window:
                left.cancel()
        answer = torch.cat(logits)
        spent = time.perf_counter() - started
        return InferResult(
            logits=answer,
            request_id=request_id,
            latency=dict(ledger.ms),
            stages={stage: 1000 * own for stage, own in whole(ledger.own, spent).items()},
            seconds=spent,
            bytes_up=ledger.bytes_up,
            bytes_down=ledger.bytes_down,
            payload_up=ledger.payload_up,
            payload_down=ledger.payload_down,
            messages=ledger.messages,
            retries=ledger.retries,
            bytes_resent=ledger.bytes_resent,
            answered=dict(ledger.answered),
            failed=dict(ledger.failed),
        )

    def close(self) -> None:
        """Close every connection."""
        for transport in self._transports:
            transport.close()

    def __enter__(self) -> EdgeClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _greet(transport: Transport) -> ServerUnavailable | None:
    """Shake hands; the error where nobody answers."""
    try:
        transport.handshake()
    except ServerUnavailable as error:
        return error
    return None
