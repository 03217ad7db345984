"""Names that an installed package adds: listed, loaded on use, refused in one line, recorded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from made import on_path, package
from typer.testing import CliRunner

import defenses
from adversary.cli import app as adversary
from adversary.registry import ATTACKS
from bench.cli import app
from bench.point.grants import GrantRequest
from bench.point.measure import Plan, point_of
from bench.point.packages import packages_of
from bench.point.recipe import SweepConfig
from defenses import DEFENSES
from splitlab.contracts import ArchSpec, Registry, own_code
from splitlab.entry_points import also, entries
from splitlab.errors import BadInput, NotImported, UnknownName
from splitlab.models import build, permit_typed

METHODS = """
from typing import ClassVar
from adversary.contract.attack import Attack
from splitlab.contracts import Defense, Estimate, Gradients, Scores


class Grey(Attack):
    name = "grey"
    source = "a test"
    asks = {"undefended": frozenset()}

    def fit(self, threat, rng, work=None):
        return lambda seen: Estimate(0.5 + 0 * seen.features)


class Abstract(Attack):
    name = "abstract"
    source = "a test"
    asks = {}


class Silent(Grey):
    name = "other"


class Scored(Grey):
    name = "scored"
    sees = (Scores, Gradients)


class Greedy(Grey):
    name = "greedy"
    asks = {"undefended": frozenset({"head", "everything"})}


class Still(Defense):
    name: ClassVar[str] = "still"
    source: ClassVar[str] = "a test"


def net(num_classes=10, width=4):
    from torch import nn
    layers = nn.Conv2d(3, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(width, num_classes))


def table(request):
    from bench.reproduce.frame.request import Shown
    return Shown(["a table of another package"], request.out / "report.html")


number = 3
"""
POINTS = {
    "splitlab.attacks": {
        "grey": "lab_methods:Grey",
        "scored": "lab_methods:Scored",
        "greedy": "lab_methods:Greedy",
        "abstract": "lab_methods:Abstract",
        "silent": "lab_methods:Silent",
        "defence": "lab_methods:Still",
        "number": "lab_methods:number",
        "lost": "lab_methods:Lost",
        "gone": "lab_nowhere:Gone",
        "broken": "lab_broken:Broken",
        "exits": "lab_exits:Exits",
        "wrong": "lab_wrong:Wrong",
        "bare": "lab_methods",
    },
    "splitlab.defenses": {"still": "lab_methods:Still", "gone": "lab_nowhere:Gone"},
    "splitlab.models": {"small": "lab_methods:net"},
    "splitlab.experiments": {"hello": "lab_methods:table"},
    "somebody.else": {"x": "y:z"},
}
FILES = {
    "lab_methods.py": METHODS,
    "lab_broken.py": "import torch\nimport no_such_package_anywhere\n",
    "lab_exits.py": "import sys\nprint('hello')\nsys.exit('not today')\n",
    "lab_wrong.py": "def f(:\n",
}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that brings one of each, good and bad."""
    folder = package(tmp_path / "site", "lab-methods", POINTS, FILES)
    on_path(monkeypatch, folder)
    return folder


@pytest.mark.usefixtures("installed")
def test_names_join_the_labs_own_and_load() -> None:
    assert set(ATTACKS) == {*ATTACKS.ours, *POINTS["splitlab.attacks"]}
    assert list(ATTACKS)[: len(ATTACKS.ours)] == list(ATTACKS.ours)
    assert len(ATTACKS) == len(list(ATTACKS))
    assert "grey" in ATTACKS
    assert "lab_methods" not in sys.modules  # nothing is imported by being listed
    assert ATTACKS.load("grey").__name__ == "Grey"
    assert also("splitlab.defenses") == " Installed beside them: gone, still."
    with pytest.raises(UnknownName, match="unknown attack 'gray'; nearest: grey"):
        ATTACKS.load("gray")


def test_without_packages_there_are_the_labs_own_alone() -> None:
    assert Registry("thing", {"a": "b:c"}, "somebody.else").ours == ("a",)
    assert list(Registry("thing", {"a": "b:c"}, "somebody.else")) == ["a"]


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("abstract", "it does not define fit"),
        ("silent", "it calls itself 'other'"),
        ("defence", "it is no subclass of adversary.contract.attack.Attack"),
        ("number", "it is 3, and cannot be called"),
        ("lost", "lab_methods has no 'Lost'"),
        ("gone", "there is no module 'lab_nowhere'"),
        ("broken", r"ModuleNotFoundError: No module named 'no_such.*\(lab_broken.py, line 2\)"),
        ("exits", r"SystemExit: not today \(lab_exits.py, line 3\)"),
        ("wrong", "SyntaxError"),
        ("bare", "wanted package.module:attribute"),
    ],
)
def test_what_fails_says_so_in_one_line_and_stops_nobody_else(
    name: str, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        ATTACKS.load(name)
    told = str(caught.value)
    assert told.startswith(
        f"attack {name!r} of lab-methods 1.2.3 ({POINTS['splitlab.attacks'][name]})"
    )
    assert "\n" not in told
    assert capfd.readouterr().out == ""  # standard output is the command's
    assert ATTACKS.load("decoder").name == "decoder"
    assert ATTACKS.load("grey").name == "grey"


@pytest.mark.usefixtures("installed")
def test_a_class_that_says_too_little(monkeypatch: pytest.MonkeyPatch) -> None:
    grey = ATTACKS.load("grey")
    monkeypatch.delattr(grey, "source")
    monkeypatch.delattr(grey, "asks")
    with pytest.raises(BadInput, match="it does not say source, asks"):
        ATTACKS.load("grey")


def test_no_name_shadows_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = {"splitlab.attacks": {"decoder": "a:b", "twice": "a:b"}, "splitlab.models": {}}
    one["splitlab.models"] = {"resnet20": "a:b", "resnet18": "a:b"}
    on_path(
        monkeypatch,
        package(tmp_path / "one", "first-package", one),
        package(tmp_path / "two", "second-package", {"splitlab.attacks": {"twice": "c:d"}}),
    )
    with pytest.raises(BadInput, match=r"'decoder' is brought by splitlab itself and by first-p"):
        ATTACKS.load("decoder")
    with pytest.raises(BadInput, match=r"by first-package 1.2.3 and by second-package 1.2.3; unin"):
        ATTACKS.load("twice")
    assert ATTACKS.load("rmle").name == "rmle"
    with pytest.raises(BadInput, match="'resnet20' is brought by splitlab itself and by first"):
        build(ArchSpec(name="resnet20"))
    with pytest.raises(
        BadInput, match=r"torchvision and by first-.*say torchvision/resnet18 or a:b"
    ):
        permit_typed("resnet18:width=3")
    assert permit_typed("torchvision/resnet18") == "torchvision/resnet18"
    build(ArchSpec(name="tiny_cnn"))


def test_the_first_on_the_path_counts_as_it_does_for_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = {"splitlab.attacks": {"grey": "lab_methods:Grey"}}
    old = package(tmp_path / "old", "lab_methods", point, version="1")
    new = package(tmp_path / "new", "Lab.Methods", point, version="2")
    on_path(monkeypatch, old, new)
    assert [entry.version for entry in entries("splitlab.attacks")["grey"]] == ["2"]


def test_damaged_metadata_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = package(tmp_path, "lab-methods", POINTS, FILES)
    (folder / "empty-1.dist-info").mkdir()
    torn = folder / "torn-1.dist-info"
    torn.mkdir()
    (torn / "entry_points.txt").write_bytes(b"[splitlab.attacks]\n\xff\xfe no = sign\n= x\n")
    on_path(monkeypatch, folder)
    assert "grey" in ATTACKS


def test_help_lists_them_and_imports_neither_torch_nor_the_package(tmp_path: Path) -> None:
    folder = package(tmp_path, "lab-methods", POINTS, FILES)
    code = (
        "import sys; from typer.testing import CliRunner; from bench.cli import app\n"
        "for words, name in (('sweep-split-points', 'grey'), ('sweep-split-points', 'still'),\n"
        "                    ('reproduce', 'hello'), ('splits', 'small')):\n"
        "    done = CliRunner().invoke(app, [words, '--help'])\n"
        "    assert done.exit_code == 0 and name in done.output, done.output\n"
        "assert not {'torch', 'lab_methods'} & set(sys.modules)\n"
    )
    found = os.pathsep.join([str(folder), str(Path(__file__).parents[2])])
    env = {**os.environ, "PYTHONPATH": found, "COLUMNS": "200"}
    subprocess.run([sys.executable, "-c", code], env=env, check=True)


@pytest.mark.usefixtures("installed")
def test_a_command_that_names_a_broken_one_ends_with_a_line(tmp_path: Path) -> None:
    for flag, name in (("--attack", "broken"), ("--defense", "gone")):
        words = ["sweep-split-points", f"--out={tmp_path / 'run'}", flag, name]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 2
        assert f"{name!r} of lab-methods 1.2.3" in " ".join(done.output.split())
        assert "Traceback" not in done.output


@pytest.mark.usefixtures("installed")
def test_an_attack_on_what_is_not_shown_is_refused_before_anything_is_trained(
    tmp_path: Path,
) -> None:
    out = tmp_path / "run"
    done = CliRunner().invoke(app, ["sweep-split-points", f"--out={out}", "--attack=scored"])
    assert done.exit_code == 2
    told = " ".join(done.output.split())
    assert "attack 'scored' estimates image and sees Scores, Gradients; shown is" in told
    assert not out.exists()
    done = CliRunner().invoke(app, ["sweep-split-points", f"--out={out}", "--attack=greedy"])
    assert done.exit_code == 2
    assert "attack 'greedy' asks for 'everything'; what can be" in " ".join(done.output.split())
    words = ["attack", str(tmp_path), f"--knows={tmp_path}", f"--out={out}", "--attack=scored"]
    done = CliRunner().invoke(adversary, words)
    assert done.exit_code == 2
    assert "a capture shows captured features alone" in " ".join(done.output.split())


@pytest.mark.usefixtures("installed")
def test_a_network_is_built_where_its_module_is_named() -> None:
    with pytest.raises(NotImported, match=r"add --import lab_methods$"):
        build(ArchSpec(name="small"))
    assert "lab_methods" not in sys.modules
    assert permit_typed("small:width=3") == "lab_methods:net:width=3"
    net = build(ArchSpec.named(permit_typed("small:width=3"), classes=4))
    assert [value.shape[0] for value in net.net.parameters()] == [3, 3, 4, 4]
    build(ArchSpec(name="small"))
    assert own_code.import_words() == ["--import", "lab_methods"]  # for client and server
    done = CliRunner().invoke(app, ["splits", "small", "--json"])
    assert done.exit_code == 0, done.output


@pytest.mark.usefixtures("installed")
def test_a_defence_in_a_file_is_imported_where_its_module_is_named() -> None:
    assert defenses.parse_file("gaussian:level=0.1+dropout").name == "gaussian+dropout"
    with pytest.raises(
        NotImported, match=r"the defence is still \(lab_methods:Still\) of lab-.*--import lab_meth"
    ):
        defenses.parse_file("gaussian+still")
    assert "lab_methods" not in sys.modules
    assert defenses.parse("still").spec == "still"  # typed by somebody
    assert defenses.parse_file("still").spec == "still"
    assert own_code.import_words() == ["--import", "lab_methods"]


@pytest.mark.usefixtures("installed")
def test_an_attack_is_no_business_of_the_other_sides() -> None:
    ATTACKS.load("grey")
    assert own_code.import_words() == []


@pytest.mark.usefixtures("installed")
def test_an_experiment_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from splitlab.estimating import Forecast

    told = Forecast(points=0, stages=(), memory_bytes=0)
    monkeypatch.setattr("bench.estimate.requests.reproduce_estimate", lambda *_: told)
    done = CliRunner().invoke(app, ["reproduce", "hello", f"--out={tmp_path / 'out'}"])
    assert done.exit_code == 0, done.output
    assert "a table of another package" in done.output


@pytest.mark.usefixtures("installed")
def test_a_point_says_the_package_and_its_version() -> None:
    grant = GrantRequest(head=True)
    plain = point_of(SweepConfig(), "layer1", Plan("decoder", "undefended", grant))
    assert "packages" not in plain.as_dict()
    config = SweepConfig(model="lab_methods:net:width=3", defense="gaussian+still")
    found = point_of(config, "2", Plan("grey", "adaptive", grant)).packages
    assert list(found) == ["attack grey", "defense still", "model small"]
    assert {told.partition(", code ")[0] for told in found.values()} == {"lab-methods 1.2.3"}
    assert packages_of(attack="decoder", defense="none", model="resnet20") == {}
    assert DEFENSES.foreign("gaussian") is None
