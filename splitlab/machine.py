"""What a number was measured on: machine, versions, threads, commit."""

from __future__ import annotations

import atexit
import gc
import multiprocessing
import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "torchvision", "timm", "grpcio", "protobuf", "numpy", "scikit-image")
OPTIONAL = ("onnx", "onnxruntime", "openvino", "atheris")
"""Engines and the fuzzer: in a record only where they are installed."""


def environment() -> dict[str, Any]:
    """Everything of the machine and the code that a record keeps. No host name, no paths.

    `side_by_side` says whether other processes of the same run worked on the same cores meanwhile.
    """
    beside = multiprocessing.parent_process() is not None
    own = {"threads": torch.get_num_threads(), "side_by_side": beside}
    return {**_fixed(), **own, **_thread_settings()}


def _thread_settings() -> dict[str, str]:
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    return {name.lower(): os.environ.get(name, "unset") for name in names}


@cache
def _fixed() -> dict[str, Any]:
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": _versions(),
        "commit": commit(),
    }


def _cpu() -> str:
    """The processor's name where /proc tells it, else what `platform` knows."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def _versions() -> dict[str, str]:
    found = {name: _version(name) for name in (*PACKAGES, *OPTIONAL)}
    return {name: told or "absent" for name, told in found.items() if told or name in PACKAGES}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache
def commit() -> str:
    """The checkout's commit, "+changes" if files under version control differ, or "unknown"."""
    folder = Path(__file__).resolve().parent
    head = _git(folder, "rev-parse", "HEAD")
    if head is None:
        return "unknown"
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return head + ("+changes" if changed else "")


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def settle() -> None:
    """Tell the garbage collector that what is there by now stays.

    torch alone brings half a million objects, which a process that serves would look through
    again with every few thousand messages.
    """
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # else libraries report their own objects as lost at the end
