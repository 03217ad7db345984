"""Completion, asked for as a shell does: names of registries, and torch is never loaded."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from every import ROLES, app, every, options
from made import package
from typer.testing import CliRunner

from splitlab import completion

ROOT = Path(__file__).resolve().parents[2]
RUN = """
import sys
from {module} import app
try:
    app(prog_name={role!r})
finally:
    assert "torch" not in sys.modules, "torch was loaded"
"""
ASK = """
import contextlib, io, json, os, sys
from {module} import app
found = []
for line in json.loads(sys.argv[1]):
    os.environ.update(COMP_WORDS=line, COMP_CWORD=str(line.count(" ")))
    words = io.StringIO()
    with contextlib.redirect_stdout(words), contextlib.suppress(SystemExit):
        app(prog_name={role!r})
    found.append(words.getvalue().split())
assert "torch" not in sys.modules, "torch was loaded"
print(json.dumps(found))
"""
LINES = {
    "bench sw": ["sweep-split-points"],
    "bench sweep-split-points --attack al": ["aligned-shadow"],
    "bench sweep-split-points --device mps --set x --gra": ["--granularity"],
    "bench train --defense gaussian+dropout-": ["gaussian+dropout-ensemble"],
    "bench train --dataset c": ["cifar10", "cifar100"],
    "bench splits repvgg": ["repvgg_a0", "repvgg_mini"],
    "bench reproduce ensembler-table": [f"ensembler-table{n}" for n in (1, 2, 3)],
    "edge-client half --server a:1 ev": ["evaluate"],
    "edge-client half --server a:1 evaluate --partition v": ["validation", "victims"],
    "cloud-server half --engine o": ["onnxruntime", "openvino"],
    "adversary attack capture --attack ps": ["psim"],
}


@pytest.mark.parametrize("role", ROLES)
def test_what_a_shell_is_offered(role: str) -> None:
    """By the protocol of bash, where the cursor stands at the end of a line."""
    lines = [line for line in LINES if line.split(" ")[0] == role]
    name = f"_{role.replace('-', '_').upper()}_COMPLETE"
    done = subprocess.run(
        [sys.executable, "-c", ASK.format(module=ROLES[role], role=role), json.dumps(lines)],
        env={**os.environ, "PYTHONPATH": str(ROOT), name: "complete_bash"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == [LINES[line] for line in lines]


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the four commands, as installing puts them."""
    folder = tmp_path_factory.mktemp("bin")
    for role, module in ROLES.items():
        (folder / f"run-{role}.py").write_text(RUN.format(module=module, role=role))
        line = f'exec "{sys.executable}" "{folder}/run-{role}.py" "$@"'
        (folder / role).write_text(f"#!/bin/sh\n{line}\n")
        (folder / role).chmod(0o755)
    return folder


def run(commands: Path, script: str) -> subprocess.CompletedProcess[str]:
    """By a bash whose user has no home to write to."""
    path = f"{commands}:{os.environ['PATH']}"
    words = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "HOME": "/nonexistent"}
    return subprocess.run(
        ["bash", "-c", script], env=words, capture_output=True, text=True, timeout=120
    )


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_itself(commands: Path) -> None:
    """Its script is taken as `--show-completion` prints it, and fills in the words."""
    script = (
        'eval "$(_BENCH_COMPLETE=source_bash bench)"; '
        "COMP_WORDS=(bench reproduce dci-t); COMP_CWORD=2; "
        'complete -p bench; _bench_completion bench; echo "${COMPREPLY[@]}"'
    )
    done = run(commands, script)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "dci-table2"


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize("role", ["cloud-server", "edge-client"])
def test_a_command_shows_its_completion(commands: Path, role: str) -> None:
    """Those two take a folder as their first word."""
    shown = run(commands, f"{role} --show-completion; exit $?")
    assert shown.returncode == 0, shown.stderr
    assert "COMPLETE=complete_" in shown.stdout


@pytest.mark.parametrize("role", ROLES)
def test_a_command_installs_its_completion(role: str) -> None:
    shown = CliRunner().invoke(app(role), ["--help"]).output
    assert "--install-completion" in shown


@pytest.mark.parametrize(
    ("place", "registry"),
    [
        (completion.ATTACKS, "adversary.registry:ATTACKS"),
        (completion.DEFENCES, "defenses:DEFENSES"),
        (completion.NETWORKS, "splitlab.models:MODELS"),
        (completion.DATASETS, "splitlab.data:DATASETS"),
        (completion.EXPERIMENTS, "bench.reproduce.registry:EXPERIMENTS"),
        (completion.LINKS, "splitlab.contracts.link:LINKS"),
    ],
)
def test_names_that_are_read_are_the_registry_s(place, registry: str) -> None:
    module, _, name = registry.partition(":")
    there = getattr(importlib.import_module(module), name)
    assert set(there) <= set(completion.names(*place))
    assert len(completion.names(*place)) == len(set(completion.names(*place)))


def test_a_name_of_an_installed_package_is_offered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    points = {"splitlab.attacks": {"ridge": "own.ridge:Ridge"}}
    monkeypatch.syspath_prepend(str(package(tmp_path, "own", points)))
    assert completion.names_of(completion.ATTACKS)("ri") == ["ridge"]


KINDS = {
    "--attack": completion.ATTACKS,
    "--defense": completion.DEFENCES,
    "--dataset": completion.DATASETS,
    "--model": completion.NETWORKS,
    "--link": completion.LINKS,
    "--recipe": completion.RECIPES,
}


def test_every_option_that_takes_such_a_name_offers_them() -> None:
    seen = set()
    for role, words, command in every():
        for one in options(command):
            place = KINDS.get(one.opts[0])
            if place is None or one.is_flag or words[:1] == ("perf",):
                continue
            first = completion.names(*place)[0]
            offer = [item.value for item in one.shell_complete(None, first)]
            assert first in offer, (role, words, one.opts)
            seen.add(one.opts[0])
    assert seen == KINDS.keys()
