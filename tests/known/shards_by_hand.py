"""Frames and a shard of them, written by hand as a tap would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from splitlab.capture import Frame
from splitlab.capture.shards import shard_path
from splitlab.storage import hash_tensors, sha256, write_tensors

FRAMES = [
    Frame(3, 0, "up", "/b", "ipv4:1", 100, 3, b"abc"),
    Frame(3, 1, "down", "/a", "ipv4:2", 101, 7, b""),
    Frame(3, 0, "down", "/b", "ipv4:1", 105, 2, b"de"),
]
TENSORS = {
    "payload": torch.tensor(list(b"abcde"), dtype=torch.uint8),
    "length": torch.tensor([3, 0, 2]),
    "size": torch.tensor([3, 7, 2]),
    "arrival_ns": torch.tensor([100, 101, 105]),
    "call": torch.tensor([0, 1, 0]),
    "down": torch.tensor([0, 1, 1], dtype=torch.uint8),
    "method": torch.tensor([1, 0, 1]),
    "peer": torch.tensor([0, 1, 0]),
}
LISTS = {"methods": '["/a", "/b"]', "peers": '["ipv4:1", "ipv4:2"]', "session": "3"}


def seal(tensors: dict[str, Tensor], lists: dict[str, str]) -> str:
    parts = [f"{name}={lists[name]}".encode() for name in ("methods", "peers", "session")]
    return sha256(hash_tensors(tensors).encode(), *parts)


def written(folder: Path, tensors: Any = None, lists: Any = None, **header: str) -> Path:
    """A shard by other hands, sealed as it should be."""
    tensors, lists = {**TENSORS, **(tensors or {})}, {**LISTS, **(lists or {})}
    path = shard_path(folder, 0)
    write_tensors(path, tensors, {**lists, "sha256": seal(tensors, lists), **header})
    return path
