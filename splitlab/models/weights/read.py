"""The content of a file of weights, read without running any code of it."""

from __future__ import annotations

import contextlib
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from splitlab.errors import BadInput, Corrupt, foreign
from splitlab.models.weights.recognise import FETCH, stranger, unknown_ending
from splitlab.models.weights.sums import damaged_entry
from splitlab.storage import read_tensors

_NAMED = re.compile(r"(?:GLOBAL|type|class|import) ([\w.]+)")
_NETWORKS = ("torch.nn.modules.", "torchvision.models.", "timm.models.")
_PARTS_OF_OTHERS = ("builtins.", "torch.nn.modules.", "_codecs.")
_FAILED = (
    RuntimeError,
    pickle.UnpicklingError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
    MemoryError,
    RecursionError,
    ImportError,
)


def read_content(path: Path | str) -> Any:
    """What `torch.save` or safetensors wrote into `path`, on the CPU; its bytes tell which it was.

    Raises:
        BadInput: no such file, a folder, a device, or the ending of another world.
        Corrupt: says what the file is in place of weights; of a pickle with classes in it, the
            classes.
    """
    path = Path(path)
    if path.is_dir():
        raise BadInput(f"checkpoint {path}: is a folder; name the file{_inside(path)}")
    if not path.is_file() and path.exists():  # /dev/null, a named pipe
        raise BadInput(f"checkpoint {path}: is no regular file; give a .pth or .safetensors")
    if not path.is_file():
        raise BadInput(f"checkpoint {path}: there is no such file; give a .pth or .safetensors")
    other = unknown_ending(path)
    if other is not None:
        raise BadInput(
            f"checkpoint {path}: unknown ending, that of {other}; give .pth, .pt or .safetensors"
        )
    if path.suffix.lower() == ".safetensors" or _is_safetensors(path):
        refused = stranger(path) if not _is_safetensors(path) else None
        if refused is not None:
            raise _corrupt(path, refused)
        return read_tensors(path, FETCH)
    refused = stranger(path)
    if refused is not None:
        raise _corrupt(path, refused)
    return _read_torch(path)


def _read_torch(path: Path) -> Any:
    try:
        damaged = damaged_entry(path)
    except (*_FAILED, zipfile.BadZipFile, NotImplementedError) as error:
        raise _refused(path, error) from error
    if damaged is not None:
        raise Corrupt(path, f"damaged: {damaged} in it is not what was written", FETCH)
    try:
        with warnings.catch_warnings():
            # Old storages and quantised tensors announce their end; what they are is told later.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except _FAILED as error:
        raise _refused(path, error) from error


def _refused(path: Path, error: Exception) -> Corrupt:
    classes = _classes(path, str(error))
    if any(name.startswith(_NETWORKS) for name in classes):
        return Corrupt(
            path,
            f"not loadable as plain weights: it holds a whole pickled network ({_few(classes)})",
            "load it where you trust it, and save its state_dict() alone with torch.save",
        )
    if classes:
        return Corrupt(
            path,
            f"not loadable as plain weights: beside them it holds {_few(classes)}, which would be "
            "unpickled",
            "load it where you trust it, and save the state dict alone with torch.save",
        )
    first = str(error).splitlines()[0] if str(error).strip() else type(error).__name__
    if "Unsupported operand" in str(error):
        return Corrupt(
            path,
            "not loadable as plain weights: no file of torch.save",
            "save the state dict alone with torch.save",
        )
    return Corrupt(
        path, f"not loadable as plain weights, cut short or damaged ({foreign(first, 160)})", FETCH
    )


def _classes(path: Path, words: str) -> list[str]:
    """Names of the classes that torch refuses to unpickle, those that others consist of last."""
    found: list[str] = []
    named = _NAMED.search(words[words.find("WeightsUnpickler error") :])
    if named is not None and "Unsupported operand" not in words:
        found.append(named[1])
    with contextlib.suppress(*_FAILED):  # of the old format only the first is told
        found += sorted(torch.serialization.get_unsafe_globals_in_checkpoint(str(path)))
    unique = [name for name in dict.fromkeys(found) if name.count(".")]
    return sorted(unique, key=lambda name: name.startswith(_PARTS_OF_OTHERS))


def _few(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(foreign(name, 80) for name in names[:3]) + more


def _is_safetensors(path: Path) -> bool:
    """Whether it begins with the length of a header, and the header as a JSON object."""
    with path.open("rb") as file:
        start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    return len(start) == 9 and start[8:] == b"{" and 2 <= length <= path.stat().st_size


def _inside(folder: Path) -> str:
    kinds = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".th", ".tar")
    names = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in kinds)
    return f", e.g. {', '.join(names[:3])}" if names else " in it"


def _corrupt(path: Path, words: str) -> Corrupt:
    why, _, remedy = words.rpartition("; ")
    return Corrupt(path, why, remedy)
