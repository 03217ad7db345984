"""Flags of the form NAME=VALUE, and small things the command line shows."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.flag_words import chosen_attacks
from splitlab.answers import answer
from splitlab.errors import BadInput, SplitLabError
from splitlab.named import alternatives, value_of
from splitlab.storage import sha256, write_json


def attack_options(
    settings: Sequence[str], attacks: Sequence[str] = ()
) -> dict[str, dict[str, Any]]:
    """(["decoder.epochs=5"], ["rmle:tv=1"]) -> {"rmle": {"tv": 1}, "decoder": {"epochs": 5}}.

    Raises:
        BadInput: as `chosen_attacks`.
    """
    _, typed = chosen_attacks(attacks, settings)
    return {
        attack: {field: _setting(value) for field, value in fields.items()}
        for attack, fields in typed.items()
    }


def _setting(text: str) -> Any:
    return None if text.lower() == "none" else value_of(text)


def grid(items: Sequence[str]) -> dict[str, list[Any]]:
    """["steps=100|500,tv=1"] -> {"steps": [100, 500], "tv": [1]}.

    Raises:
        BadInput: not FIELD=VALUE|VALUE, or a field twice.
    """
    found: dict[str, list[Any]] = {}
    for item in items:
        try:
            fields = alternatives(item)
        except BadInput as error:
            raise BadInput(f"--try {error}; wanted FIELD=VALUE|VALUE, e.g. tv=0.1|1") from error
        if twice := sorted(fields.keys() & found.keys()):
            raise BadInput(f"--try {item!r}: wanted once a field; {twice[0]} has values already")
        found |= {field: [value_of(one) for one in values] for field, values in fields.items()}
    return found


def given(**fields: Any) -> dict[str, Any]:
    """The fields that were given; the others follow defaults."""
    return {name: value for name, value in fields.items() if value is not None}


def counts(items: Sequence[str]) -> dict[str, int]:
    """["rmle=8"] -> {"rmle": 8}.

    Raises:
        BadInput: not ATTACK=N with N at least 1, or one attack twice.
    """
    found: dict[str, int] = {}
    for item in items:
        name, _, number = item.partition("=")
        if not name or not (asked := whole_number(number)):
            raise BadInput(f"--attacked {item!r}: wanted ATTACK=N with N at least 1, e.g. rmle=8")
        if name in found:
            raise BadInput(f"--attacked {name} is given twice; keep one")
        found[name] = asked
    return found


def whole_number(text: str) -> int | None:
    """The number that ASCII digits stand for, None for other text or more than 9 digits."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None


def is_number(text: str) -> bool:
    """Whether a text stands for a number, of any sign and kind."""
    try:
        float(text)
    except ValueError:
        return False
    return True


@contextmanager
def run_folder(out: Path, dry: bool) -> Iterator[Path]:
    """`out`; or for a dry run another folder, with `out`'s records and settings, that goes again.

    What is trained already is trained there too, so that nothing of it is counted. Errors speak of
    `out` alone, and SIGTERM leaves nothing behind.
    """
    if not dry:
        yield out
        return
    with _ended_in_order(), tempfile.TemporaryDirectory(prefix="splitlab-dry-") as name:
        place = Path(name)
        for kept in ("config.toml", "client-secret.json", "victim/victim.json"):
            _copied(out, place, kept)
        _copied(out, place, "judge/judge.safetensors")
        if (out / "records").is_dir():
            shutil.copytree(out / "records", place / "records")
        try:
            yield place
        except SplitLabError as error:
            error.args = (str(error).replace(name, str(out)), *error.args[1:])
            raise


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM ends the block as an exception does; in a thread of another, nothing is changed."""

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    try:
        before = signal.signal(signal.SIGTERM, end)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _copied(source: Path, target: Path, name: str) -> None:
    if (source / name).is_file():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, target / name)


def file_hash(path: Path | None) -> str | None:
    """SHA-256 of a file, None for none.

    Raises:
        BadInput: it cannot be read.
    """
    if path is None:
        return None
    try:
        return sha256(path.read_bytes())
    except OSError as error:
        raise BadInput(f"--weights {path}: {error.strerror}; give a readable file") from error


def show_perf(measured: dict[str, Any], out: Path | None, as_json: bool = False) -> None:
    """Print a measurement, write it, and fail where it is below its limit.

    Raises:
        SplitLabError: the limit was not met.
    """
    _write_perf(measured, [measured], out, as_json)


def show_perfs(
    measured: dict[str, dict[str, Any]], out: Path | None, as_json: bool = False
) -> None:
    """Print measurements, by what was measured, write them into one file, and fail if one fails.

    Raises:
        SplitLabError: a limit was not met.
    """
    named = [{"measured": name, **facts} for name, facts in measured.items()]
    _write_perf(measured, named, out, as_json)


def _write_perf(
    content: dict[str, Any], shown: list[dict[str, Any]], out: Path | None, as_json: bool
) -> None:
    from rich.text import Text

    from splitlab.machine import environment

    lines = [
        f"{key}: {value:z.2f}" if isinstance(value, float) else f"{key}: {value}"
        for measured in shown
        for key, value in measured.items()
    ]
    answer(as_json, content, *map(Text, lines))
    if out is not None:
        write_json(out, {**content, "environment": environment()})
    failed = [
        f"{measured.get('measured', 'speed')}: {measured['ratio']:z.2f}x is below the limit "
        f"{measured['limit']:z.2f}x"
        for measured in shown
        if not measured["ok"]
    ]
    if failed:
        raise SplitLabError("; ".join(failed))
