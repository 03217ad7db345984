"""Packages as pip leaves them on disk, made in a test's folder: modules, and their metadata."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from splitlab.contracts import own_code


def package(
    folder: Path,
    name: str,
    points: Mapping[str, Mapping[str, str]],
    files: Mapping[str, str] | None = None,
    version: str = "1.2.3",
) -> Path:
    """A package of these files that says these entry points: group -> name -> place."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups = (
        f"[{group}]\n" + "".join(f"{key} = {place}\n" for key, place in names.items())
        for group, names in points.items()
    )
    (info / "entry_points.txt").write_text("\n".join(groups))
    for file, text in (files or {}).items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)
    return folder


def on_path(patch: pytest.MonkeyPatch, *folders: Path) -> None:
    """As if installed there: later folders are searched first; all is forgotten at the end."""
    patch.setattr(own_code, "_permitted", {})
    patch.setattr(sys, "path", list(sys.path))  # `--import` and `--model` search the folder too
    for folder in folders:
        patch.syspath_prepend(str(folder))
        for file in folder.iterdir():
            module = file.stem if file.suffix == ".py" else file.name
            for known in [one for one in sys.modules if one.partition(".")[0] == module]:
                patch.delitem(sys.modules, known)


def example(name: str, folder: Path) -> list[Path]:
    """A package of `examples/` as if installed: its own folder, and one with its metadata."""
    source = Path(__file__).resolve().parents[2] / "examples" / name
    said = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    package(folder, said["name"], said["entry-points"], version=said["version"])
    return [source, folder]
