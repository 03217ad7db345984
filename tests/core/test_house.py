"""Rules of the house, executed: small files, living README commands, registries that load."""

import ast
import importlib
import re
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import grimp
import pytest
import typer

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


def readme_commands():
    """Every command line of the four roles inside the README's code blocks."""
    blocks = re.findall(r"^```\n(.*?)^```", (ROOT / "README.md").read_text(), re.S | re.M)
    joined = [re.sub(r"\\\n\s*", "", block) for block in blocks]
    lines = [line.strip() for block in joined for line in block.splitlines()]
    return [line for line in lines if line.split(" ")[0] in ROLES]


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


def test_readme_names_every_command_of_every_role():
    roles = {line.split(" ")[0] for line in readme_commands()}
    assert roles == set(ROLES)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = re.findall(r"(?:^|`)make ([a-z-]+)", (ROOT / "README.md").read_text(), re.M)
    assert {"sweep", "test"} <= set(named) <= targets


@pytest.mark.parametrize("line", readme_commands())
def test_readme_commands_exist_with_their_flags(line):
    words = shlex.split(line)
    command = typer.main.get_command(importlib.import_module(ROLES[words[0]]).app)
    options = set()
    rest = words[1:]
    while True:
        options |= {name for p in command.params for name in [*p.opts, *p.secondary_opts]}
        if not hasattr(command, "commands"):
            break
        found = [word for word in rest if word in command.commands]
        if not found and hasattr(command, "unless_told"):
            found, rest = [command.unless_told], [command.unless_told, *rest]
        assert found, f"{line}: no subcommand among {sorted(command.commands)}"
        rest = rest[rest.index(found[0]) + 1 :]
        command = command.commands[found[0]]
    for word in words[1:]:
        if word.startswith("--"):
            assert word in options, f"{line}: {word} is not a flag"


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
    ],
)
def test_every_registered_name_loads(registry):
    module, _, name = registry.partition(":")
    table = getattr(importlib.import_module(module), name)
    assert table
    for entry in table:
        assert callable(table.load(entry)) or hasattr(table.load(entry), "name")


def test_every_package_is_named_in_the_readme_tree():
    tree = (ROOT / "README.md").read_text().split("## Layout")[1].split("##")[0]
    for folder in sorted(p.parent.name for p in (ROOT / "splitlab").glob("*/__init__.py")):
        assert f"  {folder}/" in tree, f"{folder}/ is missing from README's tree"


def test_no_option_of_bench_is_declared_twice():
    """What two commands share has one declaration: its words and bounds are the same in both."""
    from bench import cli, cli_train
    from bench.perf import cli as cli_perf
    from bench.perf.soak import cli as cli_soak
    from bench.reproduce import cli as reproduce

    places = [Path(one.__file__) for one in (cli, cli_perf, cli_soak, cli_train, reproduce)]
    seen = {}
    for path in (*places, ROOT / "bench" / "cli_options.py"):
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


def test_no_class_has_another_ones_name():
    """One word, one meaning; what begins with an underscore is of its own file."""
    seen = {}
    for path in (path for name in PACKAGES for path in tracked(f"{name}/*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                seen.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: where for name, where in seen.items() if len(where) > 1} == {}
