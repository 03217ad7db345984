"""Files are whole or absent; hashes do not depend on order; damage is named."""

import errno
import os
from typing import Annotated

import pytest
import torch
from pydantic import BaseModel, ConfigDict, Field

from splitlab import storage
from splitlab.checked import checked
from splitlab.errors import BadInput, Corrupt, StorageFull


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    storage.write_json(path, {"a": 1})

    def full(_handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull, match=r"record\.json.*no space left"):
        storage.write_json(path, {"a": 2})
    assert storage.read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


def test_a_private_file_is_its_owner_s_alone(tmp_path):
    storage.write_json(tmp_path / "secret.json", {"key": 1}, private=True)
    assert (tmp_path / "secret.json").stat().st_mode & 0o077 == 0


def test_a_file_where_a_folder_is_wanted_is_told(tmp_path):
    (tmp_path / "file").write_text("mine")
    for below in ("", "runs/one"):
        with pytest.raises(BadInput, match=r"file: is a file; give a folder that can be written"):
            storage.require_writable(tmp_path / "file" / below)
    storage.require_writable(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    storage.require_writable(tmp_path / "old")
    assert list((tmp_path / "old").iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", 9999 * b"["])
def test_damaged_json_is_named(tmp_path, content):
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(Corrupt, match=r"record\.json"):
        storage.read_json(path)


def test_tensors_round_trip_and_truncation_is_seen(tmp_path):
    path = tmp_path / "t.safetensors"
    tensors = {"a": torch.arange(6).reshape(2, 3).float(), "b": torch.tensor([True])}
    storage.write_tensors(path, tensors)
    back = storage.read_tensors(path)
    assert all(torch.equal(back[k], tensors[k]) for k in tensors)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(Corrupt, match="safetensors"):
        storage.read_tensors(path)


def test_hash_ignores_order_and_sees_names_shapes_and_values():
    a, b = torch.zeros(2, 3), torch.ones(1)
    same = storage.hash_tensors({"a": a, "b": b})
    assert same == storage.hash_tensors({"b": b, "a": a})
    others = [
        {"a": a, "c": b},
        {"a": a.reshape(3, 2), "b": b},
        {"a": a + 1, "b": b},
        {"a": a, "b": b.double()},
    ]
    assert len({storage.hash_tensors(o) for o in others} | {same}) == 5


def test_sha256_keeps_borders():
    assert storage.sha256(b"ab", b"c") != storage.sha256(b"a", b"bc")


class Row(BaseModel):
    """Something that a file holds."""

    model_config = ConfigDict(extra="forbid")

    seed: Annotated[int, Field(ge=0)]
    names: tuple[str, ...] = ()


def test_what_a_file_holds_is_checked_and_the_first_fault_is_told(tmp_path):
    path = tmp_path / "row.json"
    assert checked(Row, {"seed": 3, "names": ["a"]}, path, "remove it") == Row(seed=3, names=("a",))
    with pytest.raises(Corrupt, match=r"row\.json: field 'seed': wanted at least 0") as caught:
        checked(Row, {"seed": -1}, path, "remove it")
    assert "remove it" in str(caught.value)
    with pytest.raises(Corrupt, match=r"field 'names\.1'"):
        checked(Row, {"seed": 1, "names": ["a", 2]}, path, "remove it")
    with pytest.raises(Corrupt, match="field 'more'"):
        checked(Row, {"seed": 1, "more": 2}, path, "remove it")
