"""What a file is that holds no weights, told from its first bytes and not from its name."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

FIRST = 4096
"""Bytes that are looked at."""
FETCH = "fetch it again"
_GIVE = "give the weights' own file, .pth or .safetensors"
_MAGIC = (
    (b"version https://git-lfs", "is a git-lfs pointer, the weights are elsewhere; `git lfs pull`"),
    (b"\x1f\x8b", "is packed with gzip; unpack it with `gunzip` or `tar -xzf` first"),
    (b"BZh", "is packed with bzip2; unpack it with `bunzip2` first"),
    (b"\xfd7zXZ", "is packed with xz; unpack it with `unxz` first"),
    (b"\x28\xb5\x2f\xfd", "is packed with zstd; unpack it with `unzstd` first"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive; unpack it first"),
    (b"Rar!", "is a rar archive; unpack it first"),
    (b"\x89HDF", f"is HDF5, as Keras writes it; {_GIVE}, converted to PyTorch"),
    (b"\x93NUMPY", f"is a numpy array; {_GIVE}"),
    (b"GGUF", f"is GGUF, quantised weights; {_GIVE}"),
    (b"\x89PNG", f"is a PNG picture; {_GIVE}"),
    (b"\xff\xd8\xff", f"is a JPEG picture; {_GIVE}"),
    (b"%PDF", f"is a PDF; {_GIVE}"),
)
_ENDINGS = {
    ".onnx": "an ONNX graph",
    ".h5": "weights of Keras",
    ".keras": "a network of Keras",
    ".pb": "a graph of TensorFlow",
    ".tflite": "a graph of TensorFlow Lite",
    ".npz": "arrays of numpy",
    ".msgpack": "weights of Flax",
    ".engine": "an engine of TensorRT",
}


def stranger(path: Path) -> str | None:
    """What is wrong with a file that is neither torch's nor safetensors, and what to do.

    Returns:
        "is ...; remedy", or None where nothing speaks against torch's format.
    """
    with path.open("rb") as file:
        start = file.read(FIRST)
    if not start:
        return f"is empty; {FETCH}"
    for magic, words in _MAGIC:
        if start.startswith(magic):
            return words
    if start[257:262] == b"ustar":
        return "is a tar archive; unpack it with `tar -xf` and give the file inside"
    if start.startswith(b"PK"):
        return _zipped(path)
    return _text(start, path)


def unknown_ending(path: Path) -> str | None:
    """What an ending says that is not of this world, e.g. "an ONNX graph"; None for others."""
    return _ENDINGS.get(path.suffix.lower())


def _zipped(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return f"is cut short or damaged; {FETCH}"
    tops = {name.partition("/")[2] for name in names}
    if "constants.pkl" in tops or any(name.startswith("code/") for name in tops):
        return (
            "is a TorchScript archive, a program with weights; load it with torch.jit.load where "
            "you trust it, and save its state_dict() alone"
        )
    if "data.pkl" in tops:
        return None
    if any(
        "exported_program" in name or name.endswith(".pt2") or "archive_format" in name
        for name in names
    ):
        return (
            "is an exported program (torch.export), no weights alone; save the network's "
            "state_dict() alone"
        )
    if any(name.endswith(".npy") for name in names):
        return f"is an archive of numpy arrays (.npz); {_GIVE}"
    shown = ", ".join(repr(name) for name in names[:3]) or "nothing"
    return f"is a zip archive of {shown}; unpack it and give the file inside"


def _text(start: bytes, path: Path) -> str | None:
    """What a text file is, None for what is no text."""
    try:
        text = start.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if len(start) < FIRST or error.start < FIRST - 4:  # a character may be cut at the end
            return None
        text = start[: error.start].decode("utf-8-sig")
    if any(ord(letter) < 32 and letter not in "\t\n\r\f" for letter in text):
        return None
    bare = text.lstrip().lower()
    if bare.startswith(("<!doctype", "<html", "<head", "<?xml", "<!--")):
        return f"is a web page (HTML), as a failed download leaves it; {FETCH}"
    if bare.startswith(("{", "[")):
        return _json(path)
    words = " ".join(text.split())[:40]
    return f"is text ({words!r}), no weights; {_GIVE}"


def _json(path: Path) -> str:
    kind = "JSON"
    try:
        content = json.loads(path.read_bytes())
        if isinstance(content, dict) and isinstance(content.get("weight_map"), dict):
            files = sorted({str(file) for file in content["weight_map"].values()})
            return f"is an index of weights in {len(files)} files; join them into one file first"
    except (OSError, ValueError, RecursionError):
        kind = "text that begins like JSON"
    return f"is {kind}, no weights; {_GIVE}"
