"""Two commands into one folder: the second is refused before it makes anything, and leaves none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from adversary.cli import app as adversary
from adversary.contract.grant import write_grant
from adversary.contract.threat import ThreatModel
from bench.cli import app as bench
from bench.reproduce.frame.request import ExperimentRequest, Shown
from splitlab.contracts import ArchSpec, FeatureSpec, InputSpec
from splitlab.contracts.registry import Registry
from splitlab.errors import BadInput
from splitlab.estimating import Forecast
from splitlab.models import build
from splitlab.split import cut
from splitlab.storage import alone, sole

NOTHING = Forecast(points=0, stages=(), memory_bytes=0)

ATTACK = ("attack", "{}/capture", "--knows={}/grant", "--out={}/out", "--device=cpu")
SYNTHESISE = ("synthesise", "--knows={}/grant", "--out={}/out", "--count=1", "--set=steps=1")
REPRODUCE = ("reproduce", "dci-table2", "--out={}/out", "--seeds=0")
SEARCH = ("search", "dci-table2", "block-5/rmle", "--try=tv=1", "--out={}/out")


def told(app: typer.Typer, words: tuple[str, ...], folder: Path) -> str:
    done = CliRunner().invoke(app, [word.format(folder) for word in words])
    assert done.exit_code == 2, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return " ".join(done.output.split())


@pytest.fixture
def world(tmp_path: Path) -> Path:
    given = InputSpec(size=32)
    arch = ArchSpec(name="resnet8", input=given)
    head = cut(build(arch, seed=0), "layer1").head
    threat = ThreatModel(arch=arch, head_end="layer1", input=given, head=head)
    write_grant(tmp_path / "grant", threat)
    return tmp_path


@pytest.mark.parametrize(
    ("app", "words"), [(adversary, SYNTHESISE), (bench, REPRODUCE), (bench, SEARCH)]
)
def test_the_second_is_refused_at_once(
    world: Path, app: typer.Typer, words: tuple[str, ...]
) -> None:
    with alone(world / "out"):
        assert "another process is writing there" in told(app, words, world)
        assert [path.name for path in (world / "out").iterdir()] == [".writer.lock"]
    assert not (world / "out").exists()


def test_an_attack_holds_its_folder_and_looks_again_what_is_there(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def held(*_: Any, **__: Any) -> None:
        with pytest.raises(BadInput, match="another process"):
            sole(world / "out")
        raise BadInput("held")

    monkeypatch.setattr("adversary.estimating.commands.attack_estimate", lambda *_: NOTHING)
    monkeypatch.setattr("adversary.contract.estimate_files.attacked", lambda *_: (_grant(), None))
    monkeypatch.setattr("adversary.contract.attack.run_attack", held)
    assert "held" in told(adversary, ATTACK, world)
    with alone(world / "out"):
        assert "another process is writing there" in told(adversary, ATTACK, world)

    def finished(_: Any) -> dict[Path, tuple[int, int]]:
        (world / "out").mkdir()
        (world / "out" / "estimate.json").touch()  # by another, meanwhile
        return {}

    monkeypatch.setattr("adversary.contract.fitted.shelf", finished)
    assert "an estimate is there already" in told(adversary, ATTACK, world)


def _grant() -> ThreatModel:
    return ThreatModel(feature=FeatureSpec(shape=(4, 8, 8)), input=InputSpec(size=32))


def test_reproduce_holds_its_folder_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(request: ExperimentRequest) -> Shown:
        with pytest.raises(BadInput, match="another process"):
            sole(request.out)
        return Shown(["measured"], request.out / "report.html")

    monkeypatch.setattr("bench.estimate.requests.reproduce_estimate", lambda *_: NOTHING)
    monkeypatch.setattr(Registry, "load", lambda *_: run)
    words = [word.format(tmp_path) for word in REPRODUCE]
    done = CliRunner().invoke(bench, words)
    assert done.exit_code == 0, done.output
    sole(tmp_path / "out").release()


def test_no_folder_is_left_of_what_is_refused_but_what_was_there_is(tmp_path: Path) -> None:
    for place, there in ((tmp_path / "a" / "b", False), (tmp_path / "c", True)):
        if there:
            place.mkdir()
        with pytest.raises(BadInput, match="mine"), alone(place):
            raise BadInput("mine")
        assert place.exists() == there
        assert place.parent.exists() == (there or place.parent == tmp_path)
    with alone(tmp_path / "d"):
        (tmp_path / "d" / "kept").touch()
    assert (tmp_path / "d" / "kept").exists()
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="folder that can be written"), alone(tmp_path / "file"):
        pass
