"""A method is more than its name: a declared version, a package's code; and none is imported
because a record names it.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest
from made import on_path, package
from typer.testing import CliRunner

import defenses
from adversary.contract.fitted import fit_key
from adversary.contract.threat import ThreatModel
from adversary.inversion.decoder import Decoder
from adversary.registry import ATTACKS
from bench.cli import app
from bench.point.grants import GrantRequest
from bench.point.identity.config import identity
from bench.point.identity.known import of_record
from bench.point.measure import Plan, point_of
from bench.point.packages import of_deployment, packages_of
from bench.point.recipe import SweepConfig
from bench.report.quantities import kind_of
from defenses.gaussian import Gaussian
from splitlab.contracts import own_code
from splitlab.metrics.image import psnr
from splitlab.record import Record, RecordStore

METHODS = """
from typing import ClassVar
from adversary.contract.attack import Attack
from splitlab.contracts import Defense, Estimate, FeatureSpec
from lab_grey.helper import LEVEL


class Grey(Attack):
    name = "grey"
    source = "a test"
    asks = {"undefended": frozenset()}

    def fit(self, threat, rng, work=None):
        return lambda seen: Estimate(LEVEL + 0 * seen.features)


class Still(Defense):
    name: ClassVar[str] = "still"
    source: ClassVar[str] = "a test"


def table(request):
    from bench.reproduce.frame.request import Shown
    return Shown(["a table"], request.out / "report.html")
"""
POINTS = {
    "splitlab.attacks": {"grey": "lab_grey.methods:Grey", "alone": "lab_alone:Alone"},
    "splitlab.defenses": {"still": "lab_grey.methods:Still"},
    "splitlab.experiments": {"hello": "lab_grey.methods:table"},
}
ALONE = "from lab_grey.methods import Grey\n\n\nclass Alone(Grey):\n    name = 'alone'\n"
FILES = {
    "lab_grey/__init__.py": "",
    "lab_grey/methods.py": METHODS,
    "lab_grey/helper.py": "LEVEL = 0.5\n",
    "lab_alone.py": ALONE,
}
ROOT = Path(__file__).parents[2] / "results"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = package(tmp_path / "site", "lab-grey", POINTS, FILES)
    on_path(monkeypatch, folder)
    return folder


def forget(site: Path, patch: pytest.MonkeyPatch) -> None:
    """As a process that begins now: nothing is loaded and nothing was named."""
    on_path(patch, site)


def told(**named: Any) -> dict[str, str]:
    return packages_of(**named)


@pytest.mark.parametrize("file", ["lab_grey/methods.py", "lab_grey/helper.py"])
def test_an_edited_line_of_a_package_is_another_point(
    site: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    """Under the version that it had, wherever in the package the line is."""
    before = told(attack="grey", defense="gaussian+still")
    assert before["attack grey"].startswith("lab-grey 1.2.3, code ")
    assert before["defense still"] == before["attack grey"], "one package, one code"
    forget(site, monkeypatch)
    assert told(attack="grey", defense="gaussian+still") == before
    (site / file).write_text((site / file).read_text() + "\n# another line\n")
    forget(site, monkeypatch)
    after = told(attack="grey", defense="gaussian+still")
    assert after["attack grey"] != before["attack grey"]
    assert after["defense still"] != before["defense still"]
    assert "gaussian" not in "".join(after)


def test_a_module_without_a_package_is_its_own_file(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = told(attack="alone")
    (site / "lab_grey" / "helper.py").write_text("LEVEL = 0.25\n")
    forget(site, monkeypatch)
    assert told(attack="alone") == before
    (site / "lab_alone.py").write_text(ALONE + "    source = 'more'\n")
    forget(site, monkeypatch)
    assert told(attack="alone") != before


def point(attack: str = "decoder") -> Any:
    config = SweepConfig(defense="gaussian:level=0.1")
    return point_of(config, "layer1", Plan(attack, "adaptive", GrantRequest(head=True)))


@pytest.mark.parametrize("what", ["attack decoder", "defense gaussian", "metric psnr"])
def test_a_declared_version_is_another_point(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """And the first one, which none has to declare, is what it was before there were any."""
    plain = point()
    assert "packages" not in plain.as_dict()
    assert (Decoder.version, Gaussian.version, psnr.METRIC.version) == (1, 1, 1)
    if what == "attack decoder":
        monkeypatch.setattr(Decoder, "version", 2)
    elif what == "defense gaussian":
        monkeypatch.setattr(Gaussian, "version", 2)
    else:
        monkeypatch.setattr(psnr, "METRIC", dataclasses.replace(psnr.METRIC, version=2))
    raised = point()
    assert raised.as_dict()["packages"] == {what: "version 2"}
    assert identity(raised, "data") != identity(plain, "data")
    other = point("mean-image").as_dict().get("packages", {})
    assert (what in other) == (what != "attack decoder")
    assert bool(of_deployment(raised.packages)) == (what == "defense gaussian")


def test_a_package_is_a_part_of_an_identity() -> None:
    plain = point()
    one, other = (
        plain.model_copy(update={"packages": {"attack decoder": f"own 0.{n}.0"}}) for n in (1, 2)
    )
    assert len({identity(p, "data") for p in (plain, one, other)}) == 3


def test_a_kept_fit_is_of_a_version_and_of_a_code(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key(defense: str | None = None) -> str:
        return fit_key(Decoder(), ThreatModel(defense=defense), 0)

    first, noisy = key(), key("gaussian:level=0.1")
    with monkeypatch.context() as patch:
        patch.setattr(Decoder, "version", 2)
        assert key() != first
    with monkeypatch.context() as patch:
        patch.setattr(Gaussian, "version", 2)
        assert key() == first
        assert key("gaussian:level=0.1") != noisy
    own = [fit_key(ATTACKS.load("grey")(), ThreatModel(), 0)]
    defenses.parse("still")
    still = key("still")
    (site / "lab_grey" / "helper.py").write_text("LEVEL = 0.25\n")
    forget(site, monkeypatch)
    own.append(fit_key(ATTACKS.load("grey")(), ThreatModel(), 0))
    assert own[0] != own[1]
    defenses.parse("still")
    assert key("still") != still


def record_of(**changes: Any) -> Record:
    """A committed one that names something else."""
    store = RecordStore(ROOT / "dci-table2")
    record = store.read(sorted(store.folder.glob("*.json"))[0].stem)
    return record.model_copy(update={"config": {**record.config, **changes}})


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("changes", [{"attack": "grey"}, {"defense": "still"}])
def test_a_record_imports_nothing(changes: dict[str, str]) -> None:
    record = record_of(attack_options={}, **changes)
    assert of_record(record) is None
    assert kind_of(record) is not None, "the lab's own kind"
    assert not [name for name in sys.modules if name.startswith("lab_grey")]
    own_code.permit("lab_grey.methods")
    assert of_record(record) is not None


@pytest.mark.usefixtures("site")
def test_what_a_command_has_used_already_is_read() -> None:
    ATTACKS.load("grey")
    assert own_code.permitted() == ()
    assert of_record(record_of(attack_options={}, attack="grey")) is not None


@pytest.mark.usefixtures("site")
def test_a_report_of_another_package_s_experiment_is_told_to_import_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    RecordStore(run).write(record_of(experiment="hello"))
    done = CliRunner().invoke(app, ["report", str(run)])
    words = " ".join(done.output.split())
    assert done.exit_code == 2
    assert "the experiment is hello (lab_grey.methods:table) of lab-grey 1.2.3" in words
    assert "add --import lab_grey.methods" in words
    assert "lab_grey" not in sys.modules
    done = CliRunner().invoke(app, ["report", str(run), "--import", "lab_grey.methods"])
    assert "has no table of records here" in " ".join(done.output.split())
    assert "lab_grey.methods" in sys.modules
