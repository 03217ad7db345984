"""What a tap writes, field by field, read by other code and written by other code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from shards_by_hand import FRAMES, LISTS, TENSORS, seal, written

from splitlab.capture import Frame
from splitlab.capture.index import Index, Session, read_index, write_index
from splitlab.capture.shards import FIELDS, REMEDY, read_shard, shard_path, write_shard
from splitlab.errors import Corrupt
from splitlab.storage import write_tensors


def test_a_shard_holds_the_tensors_and_the_header_of_its_description(tmp_path: Path) -> None:
    write_shard(tmp_path, 12, 3, FRAMES)
    path = tmp_path / "shard-000012.safetensors"
    found = load_file(path)
    assert set(found) == set(FIELDS) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert torch.equal(found[name], tensor), name
        assert found[name].dtype == tensor.dtype
    with safe_open(path, "pt") as file:
        assert file.metadata() == {**LISTS, "sha256": seal(TENSORS, LISTS)}


def test_a_shard_of_other_hands_is_read(tmp_path: Path) -> None:
    assert list(read_shard(written(tmp_path))) == FRAMES


def test_a_shard_without_a_byte_of_payload(tmp_path: Path) -> None:
    write_shard(tmp_path, 0, 0, [Frame(0, 0, "up", "", "tcp:1", 5, 99, b"")])
    (frame,) = read_shard(shard_path(tmp_path, 0))
    assert (frame.size, frame.data, frame.method) == (99, b"", "")
    assert load_file(shard_path(tmp_path, 0))["payload"].dtype == torch.uint8


def test_a_shard_without_a_frame_is_whole(tmp_path: Path) -> None:
    write_shard(tmp_path, 0, 0, [])
    assert list(read_shard(shard_path(tmp_path, 0))) == []


BYTE = torch.uint8


@pytest.mark.parametrize(
    ("tensors", "lists", "words"),
    [
        ({"length": torch.tensor([3, 0, 1])}, {}, "4 bytes and 5 were kept"),
        ({"length": torch.tensor([3, 0, 3])}, {}, "6 bytes and 5 were kept"),
        ({"call": torch.tensor([0, 1])}, {}, "'call' has 2 values for 3 frames"),
        ({"down": torch.tensor([0, 1], dtype=BYTE)}, {}, "'down' has 2 values for 3 frames"),
        ({"call": torch.tensor([0, -1, 0])}, {}, "'call' has values below zero"),
        ({"method": torch.tensor([0, 2, 0])}, {}, "one of 2 methods that is not there"),
        ({"peer": torch.tensor([2, 0, 0])}, {}, "one of 2 peers that is not there"),
        ({"size": torch.tensor([1.0, 2.0, 3.0])}, {}, "'size' is torch.float32"),
        ({"size": torch.tensor([[1, 2, 3]])}, {}, r"'size' is torch.int64 \[1, 3\]"),
        ({"down": torch.tensor([0, 1, 1])}, {}, "'down' is torch.int64"),
        ({"payload": torch.tensor([1, 2, 3, 4, 5])}, {}, "'payload' is torch.int64"),
        ({"length": torch.tensor(3)}, {}, "its tensor .* though its seal is whole"),
        ({}, {"methods": '{"a": 1}'}, "methods are no list of words"),
        ({}, {"peers": '["a", 1]'}, "peers are no list of words"),
        ({}, {"session": "-1"}, ": its session is below zero, though"),
    ],
)
def test_a_sealed_shard_that_no_tap_would_write_is_refused(
    tmp_path: Path, tensors: Any, lists: Any, words: str
) -> None:
    path = written(tmp_path, tensors, lists)
    with pytest.raises(Corrupt, match=words) as raised:
        read_shard(path)
    assert raised.value.path == path
    assert str(raised.value).endswith(REMEDY)


@pytest.mark.parametrize(
    ("lists", "header"),
    [
        ({}, {"sha256": "0" * 64}),
        ({}, {"session": "4"}),
        ({}, {"methods": '["/a", "/c"]'}),
        ({}, {"peers": '["ipv4:1", "ipv4:3"]'}),
        ({"session": "x"}, {}),
        ({"methods": "["}, {}),
    ],
)
def test_a_header_that_was_changed_is_noticed(tmp_path: Path, lists: Any, header: Any) -> None:
    path = written(tmp_path, None, lists, **header)
    with pytest.raises(Corrupt) as raised:
        read_shard(path)
    assert raised.value.path == path
    assert str(raised.value).endswith(REMEDY)


def test_a_shard_without_header_or_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bare.safetensors"
    write_tensors(path, TENSORS)
    with pytest.raises(Corrupt, match="header"):
        read_shard(path)
    less = {key: value for key, value in TENSORS.items() if key != "peer"}
    write_tensors(path, less, {**LISTS, "sha256": seal(less, LISTS)})
    with pytest.raises(Corrupt, match="not those that the tap wrote"):
        read_shard(path)
    more = {**TENSORS, "more": torch.zeros(3)}
    write_tensors(path, more, {**LISTS, "sha256": seal(more, LISTS)})
    with pytest.raises(Corrupt, match="not those that the tap wrote"):
        read_shard(path)
    with pytest.raises(Corrupt, match=REMEDY):
        read_shard(tmp_path / "absent.safetensors")


def test_the_index_is_json_of_known_fields(tmp_path: Path) -> None:
    sessions = (
        Session(first_shard=0, started_ns=5, closed=True, frames=4, dropped=1, shards=2),
        Session(first_shard=2, started_ns=9),
    )
    write_index(tmp_path, Index(vantage="relay", sessions=sessions))
    assert json.loads((tmp_path / "capture.json").read_text()) == {
        "format": "splitlab/capture/1",
        "vantage": "relay",
        "sessions": [
            {
                "first_shard": 0,
                "started_ns": 5,
                "closed": True,
                "frames": 4,
                "dropped": 1,
                "shards": 2,
            },
            {
                "first_shard": 2,
                "started_ns": 9,
                "closed": False,
                "frames": 0,
                "dropped": 0,
                "shards": 0,
            },
        ],
    }
    assert read_index(tmp_path).sessions == sessions


def test_a_wrong_field_of_the_index_is_named(tmp_path: Path) -> None:
    path = tmp_path / "capture.json"
    good = {"format": "splitlab/capture/1", "vantage": "server"}
    session = {"first_shard": -1, "started_ns": 0}
    for content, field in (
        ({**good, "sessions": [session]}, "sessions.0.first_shard"),
        ({**good, "vantage": "moon", "sessions": [], "zzz": 1}, "vantage"),
    ):
        path.write_text(json.dumps(content))
        with pytest.raises(Corrupt, match=f"field '{field}'") as raised:
            read_index(tmp_path)
        assert raised.value.path == path
        assert str(raised.value).endswith(REMEDY)
    path.write_text("nonsense")
    with pytest.raises(Corrupt, match=REMEDY):
        read_index(tmp_path)
