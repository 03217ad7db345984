"""No home, no name, closed streams, a terminal without letters: words, never a traceback."""

from __future__ import annotations

import io
import os
import pwd
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table
from test_house import ROLES
from typer.main import get_command
from typer.testing import CliRunner

from bench.cli import app
from splitlab.console import VisibleConsole
from splitlab.data.folders.pixels import cache_folder
from splitlab.errors import BadInput
from splitlab.surroundings import encodable, expanded, prepare

ROOT = Path(__file__).resolve().parents[2]
MODULES = [name.replace("-", "_") for name in ROLES]


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    words = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(["bash", "-c", line], env=words, capture_output=True, timeout=120)


def commands(command: Any, words: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """(words, command) of a command and of all below it."""
    found = [(words, command)]
    for name, below in getattr(command, "commands", {}).items():
        found += commands(below, (*words, name))
    return found


def squeezed(text: str) -> str:
    return re.sub(r"\s", "", text)


@pytest.mark.parametrize("role", ROLES)
def test_help_says_every_word(role: str) -> None:
    import importlib

    root = importlib.import_module(ROLES[role]).app
    for words, command in commands(get_command(root)):
        done = CliRunner().invoke(root, [*words, "--help"], env={"COLUMNS": "80"})
        assert done.exit_code == 0, done.output
        shown = squeezed(done.output)
        assert squeezed(command.help or "") in shown, words
        for parameter in command.params:
            if not parameter.hidden:
                assert squeezed(parameter.help or "") in shown, (words, parameter.name)


def test_extras_in_brackets_are_not_markup() -> None:
    from cloud_server.cli import app as server

    shown = CliRunner().invoke(server, ["export-triton", "--help"]).output
    assert "splitlab[onnxruntime]" in shown


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_help_on_a_terminal_without_letters(module: str, encoding: str) -> None:
    done = shell(f'"$PYTHON" -m {module} --help', PYTHONIOENCODING=encoding, COLUMNS="40")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Usage" in done.stdout


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ('"$PYTHON" -m bench --nonesuch >&- 2>&- <&-', 2),
        pytest.param('"$PYTHON" -m bench --nonesuch <&-', 2, marks=pytest.mark.slow),
        pytest.param(
            '"$PYTHON" -m adversary attack c --knows k --out o --set x >&- 2>&- <&-',
            2,
            marks=pytest.mark.slow,  # it loads torch
        ),
        ('"$PYTHON" -m bench --help | head -n 1; exit ${PIPESTATUS[0]}', 0),
        pytest.param('"$PYTHON" -m bench --help >&-', 0, marks=pytest.mark.slow),
    ],
)
def test_closed_streams(line: str, code: int) -> None:
    done = shell(line)
    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr + done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
def test_output_that_is_full() -> None:
    done = shell('"$PYTHON" -m bench --help > /dev/full')
    assert done.returncode == 2
    assert done.stderr.decode().startswith("error: standard output: No space left")
    assert b"Traceback" not in done.stderr


def test_a_closed_stream_is_no_file_s_place(tmp_path: Path) -> None:
    words = "from splitlab.surroundings import prepare; prepare(); "
    words += f"kept = open({str(tmp_path / 'kept')!r}, 'w'); print('loud'); "
    words += "import os; os.write(1, b'loud'); os.write(2, b'loud'); kept.write('mine')"
    done = shell(f'"$PYTHON" -c "{words}" <&- >&- 2>&-')
    assert done.returncode == 0
    assert (tmp_path / "kept").read_text() == "mine"


def test_letters_that_a_terminal_lacks() -> None:
    assert encodable("grün…", "utf-8") == "grün…"
    assert encodable("grün…", "latin-1") == "grün~"
    assert encodable("grün…", "ascii") == r"gr\xfcn~"
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    table = Table("image", title="grün")
    table.add_row("[red]größe.png :warning:")
    console = VisibleConsole(file=stream, width=60)
    console.print(table)
    console.print("[red]x.png [/] :warning:")
    stream.flush()
    shown = stream.buffer.getvalue().decode()  # type: ignore[attr-defined]
    assert r"[red]gr\xf6\xdfe.png :warning:" in shown
    assert "[red]x.png [/] :warning:" in shown


def test_a_name_in_brackets_stands_in_the_error() -> None:
    done = CliRunner().invoke(app, ["splits", "[red]x[/]"])
    assert "unknown model '[red]x[/]'" in done.output


def test_nobody_escapes_for_a_console_that_knows_no_markup() -> None:
    rooms = ("adversary", "bench", "cloud_server", "edge_client", "splitlab")
    files = [path for room in rooms for path in (ROOT / room).rglob("*.py")]
    assert files
    assert not [str(p) for p in files if re.search(r"rich\.markup|from_markup", p.read_text())]


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user that the system does not know; its folder for what is temporary."""

    def unknown(number: int) -> Any:
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    names = ("HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR", "USER", "LOGNAME", "LNAME", "USERNAME")
    for name in names:
        monkeypatch.setenv(name, "")  # so that it is put back, whoever sets it meanwhile
        monkeypatch.delenv(name)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_user_without_a_home(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import getpass

    assert cache_folder().is_relative_to(nobody)
    with pytest.raises(BadInput, match="no home is known here"):
        expanded("~/photos")
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    prepare()
    assert getpass.getuser() == f"uid-{os.getuid()}"
    place = Path(os.environ["XDG_CACHE_HOME"])
    assert place.stat().st_mode & 0o777 == 0o700
    assert Path(os.environ["MPLCONFIGDIR"]).is_relative_to(place)
    assert cache_folder() == place / "splitlab"


def test_a_folder_of_somebody_else_is_not_taken(nobody: Path) -> None:
    theirs = nobody / f"splitlab-{os.getuid()}"
    theirs.mkdir()
    theirs.chmod(0o777)
    found = cache_folder().parent
    assert found != theirs
    assert found.stat().st_mode & 0o777 == 0o700


def test_no_folder_for_temporary_files(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(nobody / "none"))
    assert not cache_folder().exists()
    prepare()
