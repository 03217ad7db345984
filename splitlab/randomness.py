"""Secrets from the operating system, and noise that is drawn once for each (secret, request, row).

Two kinds of randomness never meet: *seeds* are public and make a run repeatable, *secrets* are the
client's and come from the operating system (or, to repeat a run, from a `--secret-seed` that stays
in the client half).
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


def generator(seed: int, *labels: str | int) -> torch.Generator:
    """A CPU generator for one purpose under a public seed: same seed and labels, same stream."""
    key = "\x1f".join([str(seed), *map(str, labels)]).encode()
    number = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little")
    return torch.Generator().manual_seed(number >> 1)


@dataclass(frozen=True)
class Secret:
    """32 bytes that only the client knows. `repr` never shows them."""

    key: bytes = field(repr=False)

    @classmethod
    def new(cls, secret_seed: int | None = None) -> Secret:
        """From the operating system, or, for reproduction only, from `secret_seed`."""
        if secret_seed is None:
            return cls(secrets.token_bytes(32))
        return cls(hashlib.blake2b(f"secret-seed:{secret_seed}".encode(), digest_size=32).digest())

    def number(self, *labels: str | int) -> int:
        """A 63-bit number for one purpose; without the key it cannot be told from random."""
        text = "\x1f".join(map(str, labels)).encode()
        digest = hashlib.blake2b(text, key=self.key, digest_size=8).digest()
        return int.from_bytes(digest, "little") >> 1

    def derive(self, *labels: str | int) -> Secret:
        """A secret of its own for one purpose; it does not lead back to this one."""
        text = "\x1f".join(map(str, labels)).encode()
        return Secret(hashlib.blake2b(text, key=self.key, digest_size=32).digest())

    def uniform(self, count: int, *labels: str | int) -> Tensor:
        """`count` float64 numbers in (0, 1) for one purpose, from a keystream (SHAKE-256).

        Not from torch's generator: that one keeps 32 bits of a seed, few enough to try them all.
        """
        text = "\x1f".join(map(str, labels)).encode()
        stream = hashlib.shake_256(len(self.key).to_bytes(2, "little") + self.key + text)
        words = np.frombuffer(stream.digest(8 * count), dtype="<u8") >> np.uint64(12)
        return torch.from_numpy((words.astype(np.float64) + 0.5) / 2.0**52)

    def permutation(self, count: int, *labels: str | int) -> Tensor:
        """0..count-1 in an order that only the key's holder knows, int64 [count]."""
        return self.uniform(count, *labels).argsort()


class Draw(Protocol):
    """Where a protector takes its fresh randomness from. Dimension 0 is the batch."""

    def normal(self, like: Tensor, purpose: str) -> Tensor:
        """Standard normal values of `like`'s shape, dtype and device."""
        ...

    def uniform(self, like: Tensor, purpose: str) -> Tensor:
        """Values uniform in [0, 1) of `like`'s shape, dtype and device."""
        ...


@dataclass(frozen=True)
class KeyedDraw:
    """Draws keyed by (secret, request id, row): a retry or another batching changes nothing.

    Args:
        secret: the client's.
        request_id: id of the whole request, before it is cut into micro-batches.
        first_row: row of the request at which the features handed in begin.
    """

    secret: Secret
    request_id: str
    first_row: int = 0

    def _rows(self, like: Tensor, purpose: str) -> Tensor:
        """Uniform float64 in (0, 1) of `like`'s shape, one stream a row."""
        count = like[0].numel() if len(like) else 0
        rows = [
            self.secret.uniform(count, self.request_id, self.first_row + row, purpose)
            for row in range(len(like))
        ]
        return torch.cat(rows).view(like.shape) if rows else torch.empty(like.shape).double()

    def normal(self, like: Tensor, purpose: str) -> Tensor:
        return torch.special.ndtri(self._rows(like, purpose)).to(like)

    def uniform(self, like: Tensor, purpose: str) -> Tensor:
        # Rounding to a narrower type may reach 1, which the contract leaves out.
        largest = 1.0 - torch.finfo(like.dtype).eps / 2
        return self._rows(like, purpose).clamp_max(largest).to(like)


@dataclass(frozen=True)
class FreeDraw:
    """Draws from one CPU generator, for training and for an adversary that models a defence."""

    source: torch.Generator

    def normal(self, like: Tensor, purpose: str) -> Tensor:  # noqa: ARG002
        return torch.randn(like.shape, generator=self.source).to(like)

    def uniform(self, like: Tensor, purpose: str) -> Tensor:  # noqa: ARG002
        return torch.rand(like.shape, generator=self.source).to(like)
