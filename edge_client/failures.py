"""What went wrong on the way, in words: which host, what, and what to do about it."""

from __future__ import annotations

import grpc

from splitlab.errors import (
    Mismatch,
    ServerRefused,
    ServerUnavailable,
    SplitLabError,
    foreign,
)
from splitlab.wire import refusals

REMEDIES = {
    grpc.StatusCode.INVALID_ARGUMENT: "the request does not fit what the server holds",
    grpc.StatusCode.NOT_FOUND: "start the server with the other half of this deployment",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "send smaller micro-batches or fewer at once (--window)",
    grpc.StatusCode.UNIMPLEMENTED: "what listens there does not speak the Open Inference Protocol",
    grpc.StatusCode.UNAUTHENTICATED: "--token-file must name the token of that server",
    grpc.StatusCode.OUT_OF_RANGE: "the answer to this image cannot be sent; if no image's can, "
    "have the bodies looked at with cloud-server --check",
    grpc.StatusCode.INTERNAL: "look into the server's own log",
}
ADVICE = {
    refusals.CALLS: "send fewer at once (--window), or ask who else sends from this host",
    refusals.CROWDED: "send again when others have finished; nothing is wrong with the request",
    refusals.STREAMS: "send fewer at once (--window)",
}
"""What to do by a refusal's own reason, where its status alone does not say."""


class CallFailed(grpc.RpcError):
    """One message failed where there is no call of gRPC's of its own: on a lane, on a link."""

    def __init__(self, code: grpc.StatusCode, words: str) -> None:
        super().__init__(words)
        self._code, self._words = code, words

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._words


def explain(
    error: grpc.RpcError,
    address: str,
    *,
    deadline_s: float,
    attempts: int = 1,
    why: str | None = None,
) -> SplitLabError:
    """The lab's error for a failed call.

    Args:
        error: what the call raised; it has `code` and `details`.
        address: HOST:PORT of the peer.
        deadline_s: seconds that an attempt was given.
        attempts: how often it was tried.
        why: it does not answer, where more is known than gRPC says.
    """
    code = error.code()
    words = foreign((error.details() or "no reason given").strip().rstrip("."))
    tried = f" after {attempts} attempts" if attempts > 1 else ""
    if code is grpc.StatusCode.UNAVAILABLE and why is not None:
        return ServerUnavailable(f"{address} does not answer{tried}: {why}")
    if code is grpc.StatusCode.UNAVAILABLE:
        return ServerUnavailable(
            f"{address} does not answer{tried} ({words}); is cloud-server running there, and do "
            "--server, TLS and firewall fit?"
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return ServerUnavailable(
            f"{address} did not answer within {deadline_s:g} s{tried}; give it longer with "
            "--deadline, or look what keeps it busy"
        )
    if code is grpc.StatusCode.CANCELLED:
        return ServerUnavailable(
            f"{address} ended a request on its way{tried} ({words}): it stopped, was kept waiting "
            "for too long, or gave the place to another host; see that it runs, and send the "
            "request again"
        )
    if code is grpc.StatusCode.FAILED_PRECONDITION:
        return Mismatch(f"{address} refused: {words}")
    told = getattr(error, "trailing_metadata", None)
    reason = refusals.reason_of(told() if told is not None else None)
    remedy = ADVICE.get(reason or "") or REMEDIES.get(code, "look into the server's own log")
    return ServerRefused(f"{address} refused with {code.name}: {words}; {remedy}")
