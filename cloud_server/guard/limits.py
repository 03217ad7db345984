"""What a server grants: to one peer, to all of them, in calls, in bytes and in seconds."""

from __future__ import annotations

from dataclasses import dataclass

from splitlab.errors import BadInput, SplitLabError


@dataclass(frozen=True)
class Limits:
    """
    Args:
        peer_calls: calls of one host that may be open at a time; of all hosts twice as many.
        streams: ModelStreamInfer calls that may be open, of all hosts; one host gets half of them.
            Each takes the memory of the largest request, and all of them half of the memory at
            most; where there is no more, requests go as calls.
        memory: bytes of requests that are being read, wait or run, each with its values in FP32
            and its reply, of all hosts; one host gets half of it. Not of it: what bodies compute
            with, what decoding takes for a moment, and gRPC's buffers.
        patience: seconds within which a message must arrive, a call find room, and a reply be
            taken.
        seconds: after which a request that still waits for the bodies is given up, and a watch of
            the server's health ends.
        connections: that may be open, of all hosts, at each address that the server listens at;
            None for as many as suit this process, see `cloud_server.guard.connections`.
    """

    peer_calls: int = 128
    streams: int = 32
    memory: int = 1 << 30
    patience: float = 60.0
    seconds: float = 300.0
    connections: int | None = None

    @property
    def calls(self) -> int:
        """Calls of all hosts that may be open at a time."""
        return 2 * self.peer_calls

    def check(self, largest: int) -> None:
        """
        Args:
            largest: bytes that the largest request takes.

        Raises:
            BadInput: it has no room in the memory.
        """
        if self.memory < largest:
            raise BadInput(
                f"--max-memory: the deployment's largest request takes {largest / 2**20:z.1f} MiB "
                f"with its values in FP32 and its reply, there is room for "
                f"{self.memory / 2**20:z.1f} MiB; give at least that much"
            )


class Exhausted(SplitLabError):
    """A limit is reached; others are still served.

    Args:
        reason: one of `splitlab.wire.refusals`.

    Attributes:
        told: whether it was counted as something else before.
    """

    def __init__(self, reason: str, words: str) -> None:
        super().__init__(words)
        self.reason, self.told = reason, False
