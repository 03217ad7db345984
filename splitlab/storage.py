"""Files that are whole or absent: write beside, fsync, rename; hash; read with clear errors."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from splitlab.errors import BadInput, Corrupt, StorageFull


def write_bytes(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write `data` to `path` so that a kill at any moment leaves the old file or the new one.

    Args:
        private: readable by its owner alone, from the first byte on.

    Raises:
        StorageFull: no space left; what stood at `path` before is untouched.
        BadInput: it cannot be written there, e.g. a parent is a file.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(beside, flags, 0o600 if private else 0o666), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        _fsync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StorageFull(
                f"{path}: no space left for {len(data)} bytes; free some and start again, "
                "finished work is kept"
            ) from error
        in_the_way = next((one for one in path.parents if one.is_file()), None)
        told = f"{in_the_way}: is a file" if in_the_way else f"{path}: {error.strerror}"
        raise BadInput(f"{told}; give a folder that can be written") from error


def require_writable(folder: Path) -> None:
    """Write in `folder` and clean up, so that no work is done whose result cannot be kept.

    A folder that was not there is not there afterwards either.

    Raises:
        BadInput, StorageFull: it cannot be made or written.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    probe = folder / ".writable"
    write_bytes(probe, b"")
    probe.unlink()
    for place in missing:
        with contextlib.suppress(OSError):
            place.rmdir()


def _fsync_folder(folder: Path) -> None:
    """Make a rename durable; folders cannot be synced on every system, so failing is fine."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def lock(what: Path) -> FileLock:
    """Keeps other processes from making `what` at the same time: `with lock(folder): ...`.

    The lock lies beside it, as `what.lock`; it is free again when its holder ends, however it does.
    """
    what.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(what.with_name(f"{what.name}.lock"))


def sole(folder: Path) -> FileLock:
    """The lock of whoever writes into a folder, held: until it is released, or its process ends.

    Raises:
        BadInput: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    held = FileLock(folder / ".writer.lock", mode=0o600)
    try:
        held.acquire(timeout=0)
    except Timeout as error:
        raise BadInput(
            f"{folder}: another process is writing there at this moment; wait for its end, or "
            "choose another --out"
        ) from error
    return held


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold `sole(folder)` meanwhile; of a start that is refused no folder is left.

    Raises:
        BadInput, StorageFull: another process writes there, or nobody can.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    require_writable(folder)
    held = sole(folder)
    try:
        yield
    finally:
        name = Path(held.lock_file)
        if missing and list(folder.iterdir()) == [name]:
            with contextlib.suppress(OSError):
                name.unlink()
                for place in missing:
                    place.rmdir()
        held.release()


def canonical_json(value: Any) -> bytes:
    """One byte string per JSON value: sorted keys, no spaces, no NaN. What is hashed is this."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def write_json(path: Path, value: Any, *, private: bool = False) -> None:
    """Write indented JSON with sorted keys, atomically."""
    text = json.dumps(value, indent=1, sort_keys=True) + "\n"
    write_bytes(path, text.encode(), private=private)


def read_json(path: Path, remedy: str = "write it again") -> dict[str, Any]:
    """The JSON object in `path`.

    Raises:
        Corrupt: absent, unreadable, not JSON, or not an object.
    """
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise Corrupt(path, "there is no such file", remedy) from error
    except (OSError, ValueError, RecursionError) as error:
        raise Corrupt(path, f"not readable as JSON ({error})", remedy) from error
    if not isinstance(value, dict):
        raise Corrupt(path, f"holds a {type(value).__name__}, not a JSON object", remedy)
    return value


def write_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: dict[str, str] | None = None,
    *,
    private: bool = False,
) -> None:
    """Write a safetensors file, atomically. Tensors are moved to the CPU and made contiguous."""
    plain = {k: v.detach().to("cpu").contiguous().clone() for k, v in tensors.items()}
    write_bytes(path, save(plain, metadata), private=private)


def read_tensors(path: Path, remedy: str = "write it again") -> dict[str, Tensor]:
    """Every tensor of a safetensors file.

    Raises:
        Corrupt: absent, cut short or not a safetensors file.
    """
    try:
        return load(path.read_bytes())
    except FileNotFoundError as error:
        raise Corrupt(path, "there is no such file", remedy) from error
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise Corrupt(path, f"not a whole safetensors file ({error})", remedy) from error


def sha256(*parts: bytes) -> str:
    """Hex SHA-256 of the parts, each preceded by its length so that borders matter."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Hex SHA-256 over names, dtypes, shapes and raw bytes, independent of the mapping's order."""
    parts: list[bytes] = []
    for name in sorted(tensors):
        value = tensors[name].detach().to("cpu").contiguous()
        parts += [name.encode(), str(value.dtype).encode(), repr(tuple(value.shape)).encode()]
        parts.append(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha256(*parts)
