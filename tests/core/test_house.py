"""Rules of the house, executed: small files, no circles, registries that load."""

import ast
import importlib
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("splitlab", "defenses", "adversary", "edge_client", "cloud_server", "bench")
ROLES = {
    "bench": "bench.cli",
    "edge-client": "edge_client.cli",
    "cloud-server": "cloud_server.cli",
    "adversary": "adversary.cli",
}


def tracked(pattern):
    found = subprocess.run(
        ["git", "ls-files", pattern], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / line for line in found.stdout.splitlines() if (ROOT / line).exists()]


def test_files_are_small_rooms():
    long = {
        path.name: count
        for path in tracked("*.py")
        if "_pb2" not in path.name
        and (count := len(path.read_text().splitlines())) > (350 if "tests" in path.parts else 300)
    }
    assert not long, f"past 300 lines (350 in tests), ask what wants to leave: {long}"


def test_no_path_of_a_machine_and_no_unfinished_work():
    pattern = re.compile(r"/(?:home|root|work|farm)/\w|\bTO" + r"DO\b|FIX" + r"ME")
    named = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in [*tracked("*.py"), *tracked("*.md"), *tracked("*.toml"), *tracked("*.proto")]
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert not named


@pytest.mark.parametrize("role", ROLES)
def test_help_does_not_pay_for_torch(role):
    code = (
        f"import sys; from typer.testing import CliRunner; from {ROLES[role]} import app; "
        "done = CliRunner().invoke(app, ['--help']); assert done.exit_code == 0, done.output; "
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )

    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize(
    "registry",
    [
        "splitlab.models:MODELS",
        "splitlab.data.load:DATASETS",
        "splitlab.metrics:METRICS",
        "defenses:DEFENSES",
        "adversary.registry:ATTACKS",
        "adversary.registry:OF_EXPERIMENTS",
    ],
)
def test_every_registered_name_loads(registry):
    module, _, name = registry.partition(":")
    table = getattr(importlib.import_module(module), name)
    assert table
    for entry in table:
        assert callable(table.load(entry)) or hasattr(table.load(entry), "name")


def test_no_option_of_bench_is_declared_twice():
    """What two commands share has one declaration: its words and bounds are the same in both."""
    from bench import cli, cli_train
    from bench.perf import cli as cli_perf
    from bench.perf.soak import cli as cli_soak
    from bench.reproduce import cli as reproduce

    places = [Path(one.__file__) for one in (cli, cli_perf, cli_soak, cli_train, reproduce)]
    seen = {}
    shared = (ROOT / "bench" / f"cli_{name}.py" for name in ("options", "groups"))
    for path in (*places, *shared):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Annotated":
                seen.setdefault(ast.unparse(node), []).append(f"{path.name}:{node.lineno}")
    assert {text: where for text, where in seen.items() if len(where) > 1} == {}


def test_no_folder_has_more_than_20_files():
    count = Counter(path.parent.relative_to(ROOT) for path in tracked("*.py"))
    full = {str(folder): files for folder, files in count.items() if files > 20}
    assert not full, f"make rooms: {full}"


def test_no_module_imports_itself_by_a_detour():
    """Circles count wherever the import stands, inside a function too."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    left = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    # Of what is left, who is imported by none of it is no part of a circle.
    while free := left.keys() - set().union(*left.values()):
        for name in free:
            del left[name]
    assert not left, f"these import one another: {sorted(left)}"


def defined(path):
    """(name, its meaning) of the public classes, aliases and constants of a file."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, f"class of {path.relative_to(ROOT)}"
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for name in (one.id for one in targets if isinstance(one, ast.Name)):
                if name[0].isupper():
                    yield name, ast.unparse(node)


def test_one_word_has_one_meaning():
    """Of classes and aliases; what begins with an underscore is of its own file.

    Options of commands bear the names of their flags: `Device` of --device may stand beside a
    class. A copy of the same line, such as a TypeVar, is no second meaning.
    """
    meanings = {}
    for path in (path for name in PACKAGES for path in tracked(f"{name}/*.py")):
        of_a_command = path.stem.startswith("cli")
        for name, meaning in defined(path):
            if not name.isupper() and not of_a_command:
                meanings.setdefault(name, set()).add(meaning)
    assert {name: found for name, found in meanings.items() if len(found) > 1} == {}


def test_a_constant_that_another_folder_imports_is_the_only_one_of_its_name():
    """`LIMIT` may be a word of one file or folder; beyond it, it must say the limit of what."""
    files = {
        str(path.relative_to(ROOT).with_suffix("")).replace("/", "."): path
        for name in PACKAGES
        for path in tracked(f"{name}/*.py")
    }
    constants = {
        module: {name for name, _ in defined(path) if name.isupper()}
        for module, path in files.items()
    }
    homes = {}
    for path in files.values():
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or node.module not in files:
                continue
            if files[node.module].parent == path.parent:
                continue
            for one in node.names:
                if one.asname is None and one.name in constants[node.module]:
                    homes.setdefault(one.name, set()).add(node.module)
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


def test_no_two_files_of_tests_have_one_name():
    """pytest imports them by their bare names, and would refuse the second."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
