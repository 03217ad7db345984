"""A comparison of attacks as a folder: measured once, continued, refused, shown again."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from adversary.inversion.decoder import Decoder
from adversary.inversion.rmle.start import STARTS
from bench.cli import app
from bench.perf.attacks import measure, prepare
from bench.perf.attacks.measure import RaceJob, contenders, measured, race
from bench.perf.attacks.ours import OURS, OurAttack, run_ours, settings_of
from bench.perf.attacks.prepare import Ground, ImageCounts
from bench.perf.attacks.records import FOLDER, RowKey, read_row
from bench.perf.attacks.run import AttackComparison, rows_of
from bench.perf.attacks.settings import budgets_of, kept_settings, seeds_of
from bench.point.lab import Sources
from bench.point.recipe import validated
from splitlab.data import ImageSet, Splits
from splitlab.errors import BadInput, Corrupt, UnknownName
from splitlab.metrics import psnr
from splitlab.training import Silent

SIZE = 16
COUNTS = ImageCounts(victims=3, auxiliary=24, validation=4)
PEER, OTHER = "ResSFL MF", "ResSFL decoder"
MEAN, LEARNED = OurAttack("mean-image"), OurAttack("decoder", {"epochs": 1, "width": 8})
NAMES = (PEER, OTHER, MEAN.name, LEARNED.name)


class Ticking:
    """A clock that is one second on whenever it is looked at; it ends the process at a time."""

    def __init__(self, killed_at: float = float("inf")) -> None:
        self.now, self.killed_at = 0.0, killed_at

    def __call__(self) -> float:
        self.now += 1.0
        if self.now > self.killed_at:
            raise KeyboardInterrupt
        return self.now


def pictures(count: int, part: str) -> ImageSet:
    draw = torch.Generator().manual_seed(len(part) * 1000 + count)
    coarse = torch.rand(count, 3, 4, 4, generator=draw)
    fine = nn.functional.interpolate(coarse, (SIZE, SIZE), mode="bilinear", align_corners=False)
    labels = torch.arange(count) % 2
    pixels = (255 * fine).round().to(torch.uint8)
    return ImageSet(pixels, labels, ("a", "b"), torch.arange(count), None, f"pictures/{part}")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Splits:
    """Few images and two quick attacks of ours."""
    parts = {"train": 32, "auxiliary": 40, "validation": 12, "victims": 12}
    made = Splits.of({name: pictures(count, name) for name, count in parts.items()}, "pictures")
    monkeypatch.setattr(prepare, "loaded", lambda _config, _sources: made)
    monkeypatch.setattr(measure, "OURS", (MEAN, LEARNED))
    monkeypatch.setattr(measure, "PEERS", {name: measure.PEERS[name] for name in (PEER, OTHER)})
    return made


def ground(splits: str = "block2.0", seeds: tuple[int, ...] = (0,), **changes: int) -> Ground:
    counts = ImageCounts(**{**vars(COUNTS), **changes})
    config = validated(model="tiny_cnn", size=SIZE, splits=splits, victim={"epochs": 0})
    return Ground.of(config, Sources("photo-patches", device="cpu"), counts, seeds)


def comparison(
    folder: Path, on: Ground | None = None, budgets: tuple[float, ...] = (3.0, 6.0), **more: Any
) -> AttackComparison:
    more = {"clock": Ticking(), **more}
    return AttackComparison.of(folder, on or ground(), budgets, **more)


def job_of(on: Ground, name: str, folder: Path = Path()) -> RaceJob:
    settings = on.settings((3.0,), [name], quick=False)
    [job] = on.jobs(on.first.eval(), settings, folder, Ticking())
    return job


def records(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / FOLDER).glob("*.json")}


def test_every_contender_is_measured_and_kept(tmp_path: Path) -> None:
    whole = comparison(tmp_path / "out", ground("block1.0,block2.0", (0, 1)))
    assert whole.estimate().told().startswith("16 runs, about 96 seconds")
    whole.execute(Silent())
    settings = kept_settings(tmp_path / "out")
    assert settings is not None
    rows, missing = rows_of(tmp_path / "out", settings)
    assert (len(rows), missing) == (2 * 2 * len(NAMES), 0)
    for row in rows:
        assert {len(one.psnr) for one in row.readings} == {3} == {len(row.groups)}
        assert row.environment["threads"] == 1
        assert row.wall_per_cpu > 0
        assert row.yardstick > 0
        if row.kind == "peer":
            assert [one.budget for one in row.readings] == [3.0, 6.0]
            assert [one.steps for one in row.readings] == [2, 3]
            assert row.source
        else:
            assert len(row.readings) == 1
            assert row.facts["fit_seconds"] + row.facts["reconstruct_seconds"] == 2.0
    learned = next(row for row in rows if row.contender == LEARNED.name)
    assert learned.settings["epochs"] == 1
    assert learned.facts["extra"]["learned_from"]
    # Different seeds draw different victims; all contenders of a row have the same ones.
    assert len({(row.split, row.seed, row.groups) for row in rows}) == 4
    assert len({row.groups for row in rows}) == 2
    assert whole.missing() == []
    assert whole.estimate().told().startswith("all 16 runs are finished")


def test_ours_is_run_as_a_sweep_runs_it(tmp_path: Path) -> None:
    """The floor's answer is the mean of just the auxiliary images."""
    on = ground()
    job = job_of(on, MEAN.name, tmp_path)
    row = measured(job, Silent())
    scene = job.scene
    mean = scene.draw.auxiliary.images.double().mean(0).div(255).float()
    truth = scene.draw.victims.floats()
    assert row.readings[0].psnr == pytest.approx(psnr(truth, mean.expand_as(truth)).tolist())
    assert set(vars(scene)) >= {"features", "answers"}
    list(race(job, Silent()))
    assert not {"truth", "features", "answers"} & set(vars(scene))  # many would fill the memory


def test_a_peer_is_given_every_image_that_ours_is(tmp_path: Path) -> None:
    scene = job_of(ground(), PEER, tmp_path).scene
    shown, own = scene.exposed(PEER), scene.threat().aux
    assert own is not None
    granted = torch.cat([own.images.floats(), own.validation.floats()])
    assert len(granted) == COUNTS.auxiliary + COUNTS.validation
    assert torch.equal(shown.pairs, granted)
    assert torch.allclose(shown.answers, scene.head(granted), atol=1e-6)
    assert torch.equal(shown.features, scene.features)
    scene.forget()
    assert "more_answers" not in vars(scene)


def test_every_attack_of_ours_can_be_run_so() -> None:
    assert OURS
    page = (Path(__file__).parents[4] / "docs" / "speed.md").read_text()
    named = "\n".join(f"{at}. `{one.name}`" for at, one in enumerate(OURS, 1))
    assert named in page  # in the order in which they stand
    for one in OURS:
        assert settings_of(one)["version"] >= 1
    with pytest.raises(BadInput):
        settings_of(OurAttack("decoder", {"epoch": 1}))
    with pytest.raises(BadInput, match="captured features alone"):
        settings_of(OurAttack("threshold"))


def test_a_start_is_within_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is borrowed: rmle fits its decoder itself, and that counts."""
    monkeypatch.setitem(STARTS, "decoder", lambda: Decoder(epochs=1, width=8))
    on = ground(auxiliary=16)
    job = job_of(on, PEER)
    short = {"steps": 2, "choose_images": 0, "start": "decoder"}
    found = run_ours(OurAttack("rmle", short), job.scene, Ticking())
    assert found.facts["extra"]["start"] == "decoder"
    assert "borrowed_seconds" not in found.facts["effort"]


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    out = tmp_path / "out"
    # A peer looks eleven times; the second one is ended in the middle of its run.
    with pytest.raises(KeyboardInterrupt):
        comparison(out, clock=Ticking(killed_at=14)).execute(Silent())
    before = records(out)
    assert [json.loads(one)["contender"] for one in before.values()] == [PEER]
    again = comparison(out)
    assert [key.contender for key in again.missing()] == list(NAMES[1:])
    again.execute(Silent())
    after = records(out)
    assert len(after) == len(NAMES)
    assert before.items() <= after.items()


def test_a_finished_row_is_not_measured_again(tmp_path: Path) -> None:
    comparison(tmp_path / "out").execute(Silent())
    before, clock = records(tmp_path / "out"), Ticking(killed_at=0)
    comparison(tmp_path / "out", clock=clock).execute(Silent())
    assert records(tmp_path / "out") == before
    assert clock.now == 0


def test_rows_may_be_added_and_nothing_else_changed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    comparison(out, only=[PEER]).execute(Silent())
    comparison(out, ground(seeds=(1,)), only=[PEER]).execute(Silent())
    settings = kept_settings(out)
    assert settings is not None
    assert settings.seeds == (0, 1)
    assert len(records(out)) == 2
    for field, changed in (
        ("victims", {"on": ground(victims=2)}),
        ("auxiliary", {"on": ground(auxiliary=25)}),
        ("validation", {"on": ground(validation=5)}),
        ("budgets", {"budgets": (3.0,)}),
        ("quick", {"quick": True}),
    ):
        with pytest.raises(BadInput, match=f"holds a comparison with {field} = .*choose another"):
            comparison(out, **changed)  # type: ignore[arg-type]


def test_a_contender_that_changed_is_not_mixed_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    comparison(out, only=[LEARNED.name]).execute(Silent())
    [path] = (out / FOLDER).glob("*.json")
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "settings": {**told["settings"], "depth": 7}}))
    with pytest.raises(BadInput, match=r"other settings \(depth\); remove the file"):
        comparison(out)
    path.write_text(path.read_text()[:50])
    with pytest.raises(Corrupt, match="remove it to measure it again"):
        comparison(out)
    path.write_text("{}")
    with pytest.raises(Corrupt, match="remove it"):
        read_row(out, RowKey("block2.0", 0, LEARNED.name))
    monkeypatch.setattr(measure, "OURS", (MEAN,))
    assert contenders() == NAMES[:3]


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"splits": "layer9.9"}, UnknownName, "layer9.9"),
        ({"splits": "flatten"}, BadInput, r"'flatten' has a feature of shape \(32,\)"),
        ({"victims": 13}, BadInput, "--victims 13: pictures has 12 of them"),
        ({"auxiliary": 41}, BadInput, "--auxiliary 41: pictures has 40"),
        ({"validation": 13}, BadInput, "--validation 13: pictures has 12"),
    ],
)
def test_what_cannot_be_compared(how: dict[str, Any], error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        ground(**how)


def test_words_that_are_no_numbers() -> None:
    assert budgets_of("30, 60,180") == (30.0, 60.0, 180.0)
    assert budgets_of("0.5") == (0.5,)
    for text in ("", "a", "60,30", "30,30", "0,1", "-1", "1,,2", "True", "1e9", "nan", "[1]"):
        with pytest.raises(BadInput, match="--budget"):
            budgets_of(text)
    assert seeds_of("2,0") == (2, 0)
    for text in ("", "a", "-1", "0,0", "1.5", "9" * 10):
        with pytest.raises(BadInput, match="--seeds"):
            seeds_of(text)


def test_damaged_settings_are_told(tmp_path: Path) -> None:
    comparison(tmp_path, only=[PEER]).execute(Silent())
    path = tmp_path / "settings.json"
    told = json.loads(path.read_text())
    for damage in ({"budgets": [6, 3]}, {"victims": 0}, {"more": 1}):
        path.write_text(json.dumps({**told, **damage}))
        with pytest.raises(Corrupt, match="choose another --out"):
            kept_settings(tmp_path)


SMALL = (
    *("perf", "attacks", "--model", "tiny_cnn", "--size", "16", "--splits", "block2.0"),
    *("--epochs", "0", "--seeds", "0", "--victims", "3", "--auxiliary", "24"),
    *("--validation", "4", "--budget", "0.01,0.02"),
)


def told(*words: Any, catch: bool = True) -> Any:
    return CliRunner().invoke(app, [*map(str, words)], catch_exceptions=catch)


def test_the_command_measures_and_shows_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    dry = told(*SMALL, "--out", out, "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "4 runs" in dry.output
    assert not out.exists()
    done = told(*SMALL, "--out", out)
    assert done.exit_code == 0, done.output
    assert "6 comparisons" in done.output  # the learned peer meets ours without the head too
    (out / "table.csv").unlink()

    def never(*_: Any) -> None:
        raise AssertionError("it was to be shown alone")

    monkeypatch.setattr(prepare, "loaded", never)
    monkeypatch.setattr(measure, "OURS", (MEAN, LEARNED, OurAttack("rmle")))  # one more since then
    wrong = told("perf", "attacks", "--out", out, "--only", "ressfl")
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert "unknown contender 'ressfl'" in wrong.stderr
    # One that the folder does not have is to be measured: the folder alone does not do.
    with pytest.raises(AssertionError, match="shown alone"):
        told("perf", "attacks", "--out", out, "--only", "rmle", catch=False)
    known = told("perf", "attacks", "--out", out, "--only", PEER)
    assert known.exit_code == 0, known.output
    again = told("perf", "attacks", "--out", out, "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout) == json.loads((out / "summary.json").read_text())
    assert (out / "table.csv").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--victims", "0"), "Invalid value for '--victims'"),
        (("--budget", "60,30"), "in rising order"),
        (("--seeds", "x"), "--seeds 'x'"),
        (("--only", "ressfl"), "unknown contender 'ressfl'; nearest: "),
        (("--splits", "layer9.9"), "layer9.9"),
        (("--weights", "nowhere.pth"), "nowhere.pth"),
    ],
)
def test_the_command_refuses_before_anything_is_written(
    tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    out = tmp_path / "out"
    done = told(*SMALL, "--out", out, *words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in " ".join(done.stderr.split())
    assert not out.exists()


@pytest.mark.slow
def test_rows_side_by_side_in_processes(tmp_path: Path) -> None:
    on = ground(seeds=(0, 1))
    settings = on.settings((0.2, 0.4), [PEER], quick=False)
    jobs = on.jobs(on.first.eval(), settings, tmp_path, time.process_time)
    assert all(isinstance(job, RaceJob) for job in jobs)
    from bench.perf.attacks.run import _each

    assert set(_each(jobs, 2, Silent())) == {job.key for job in jobs}
    rows = [read_row(tmp_path, job.key) for job in jobs]
    assert [row and row.environment["side_by_side"] for row in rows] == [True, True]
