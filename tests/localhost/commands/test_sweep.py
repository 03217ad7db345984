"""The sweep from image to report with real processes; killed at any moment, it continues."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from foreground import foreground
from recomputed import require_noticed
from typer.testing import CliRunner

from adversary.cli import app as adversary
from adversary.estimating import commands
from bench.cli import app as bench
from bench.latency.turns import REQUESTS, ROUNDS
from bench.point.cache.store import NAME
from bench.sweep.sweep import Sweep
from splitlab.capture import Capture
from splitlab.estimating import Forecast
from splitlab.record import RecordStore
from splitlab.storage import read_json, read_tensors
from splitlab.thread_share import thread_share

SMALL = [
    "--model=tiny_cnn",
    "--splits=block1,block3",
    "--train-images=256",
    "--queries=128",
    "--victims=24",
    "--epochs=1",
    "--set=decoder.epochs=1",
    "--device=cpu",
    *(
        RMLE := (
            "--set=rmle.start=mean",
            "--set=rmle.steps=5",
            "--set=rmle.choose_images=0",
            "--attacked=rmle=2",
        )
    ),
]
ENVIRONMENT = {**os.environ, **thread_share(1), "COLUMNS": "120"}


def sweep(out, *more):
    return [sys.executable, "-m", "bench", "sweep-split-points", "--out", str(out), *SMALL, *more]


UNTOLD = """
import sys
from bench.cli import app
from bench.sweep.sweep import Sweep
from splitlab.estimating import Forecast
Sweep.estimate = lambda _: Forecast(0, (), memory_bytes=0)
app(sys.argv[1:])
"""
"""`bench` that does not tell how long it will take, which takes longer here and has own tests."""


def run(words):
    return subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def inside(app, words):
    """The same command within this process, whose start would be most of its time.

    How long it will take, which takes longer here, has tests of its own.
    """
    with pytest.MonkeyPatch.context() as patch:
        nothing = Forecast(0, (), memory_bytes=0)
        patch.setattr(Sweep, "estimate", lambda _: nothing)
        patch.setattr(commands, "attack_estimate", lambda *_, **__: nothing)
        done = CliRunner().invoke(app, words, env={"COLUMNS": "120"})
    assert "Traceback" not in done.output
    return done


def begun(out, enough):
    """A run that has come so far that `enough` holds."""
    first = subprocess.Popen(
        foreground([sys.executable, "-c", UNTOLD, *sweep(out)[3:]]),
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while first.poll() is None and not enough():
        pass_time()
    return first


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that got a Ctrl-C at its second point, with a client waiting, and a second start."""
    out = tmp_path_factory.mktemp("sweep") / "run"
    with begun(out, lambda: ready(out / "points" / "block3.2")) as first:
        assert len(users_of(out)) >= 2
        first.send_signal(signal.SIGINT)
        text, _ = first.communicate()
    assert first.returncode == 130, text
    assert "start again to continue" in text
    assert users_of(out) == []
    early = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in out.glob("records/*.json")}
    weights = victims_of(out)
    done = inside(bench, sweep(out)[3:])
    assert done.exit_code == 0, done.output
    return out, early, weights, done.output


def users_of(folder):
    """Processes that have a file below `folder` open, as a role has its log."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            files = [str(link.readlink()) for link in (process / "fd").iterdir()]
        except OSError:  # it has ended, or is not ours
            continue
        if any(file.startswith(f"{folder}/") for file in files):
            found.append(process.name)
    return found


def victims_of(out):
    """When each of the victims beside the run was written."""
    weights = (out.parent / NAME / "victims").glob("*/weights.safetensors")
    return [path.stat().st_mtime_ns for path in weights]


def ready(place):
    log = place / "client.log"
    return log.exists() and "ready" in log.read_text()


def pass_time():
    """Wait a little between two looks; how long does not matter to the result."""
    signal.sigtimedwait([], 0.02)


def test_an_interrupted_run_continues_and_repeats_no_finished_point(finished):
    out, early, weights, _ = finished
    assert len(early) == 2, "the run was interrupted in its middle"
    for name, (time, content) in early.items():
        path = out / "records" / name
        assert (path.stat().st_mtime_ns, path.read_bytes()) == (time, content)
    assert len(weights) == 1, "trained before the first point, in the cache"
    assert victims_of(out) == weights
    records = RecordStore(out).all()
    assert len(records) == 4
    assert {(r.split["name"], r.config["attack"]) for r in records} == {
        (split, attack) for split in ("block1.2", "block3.2") for attack in ("decoder", "rmle")
    }


def test_it_ends_with_a_table_a_recommendation_and_a_report(finished):
    out, _, _, text = finished
    assert "Recommended split point" in text
    for word in ("block1", "block3", "decoder", "rmle"):
        assert word in text
    report = json.loads((out / "report.json").read_text())
    assert len(report["records"]) == 4
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4


def test_every_record_says_what_it_was_measured_on(finished):
    for record in RecordStore(finished[0]).all():
        assert set(record.environment) >= {"commit", "cpu", "threads", "versions", "python"}
        assert record.rate["framed_up"] >= record.rate["payload_up"] > 0
        assert record.latency["total"]["p95"] >= record.latency["total"]["p50"] > 0
        assert record.leakage["psnr"].mean is not None
        assert record.floor["psnr"].mean is not None
        assert len(record.data_hash) == 64
        assert str(finished[0]) not in record.model_dump_json()


def test_one_measurement_of_latency_is_joined_to_every_record(finished):
    """A record says nothing of it; all deployments stand in one file, whose stages add up."""
    store = RecordStore(finished[0])
    (latency,) = store.latencies()
    assert set(latency.places) == {"block1.2", "block3.2"}
    assert latency.load.seconds > 0
    for path in store.folder.glob("*.json"):
        assert json.loads(path.read_text())["latency"] == {}
    for record in store.all():
        place = latency.places[record.split["name"]]
        assert len(place.rounds) == ROUNDS
        assert record.latency["total"]["count"] == ROUNDS * REQUESTS
        assert record.latency_facts["record"] == latency.hash
        parts = sum(ms["part"] for ms in record.latency.values() if "part" in ms)
        assert parts == pytest.approx(record.latency["total"]["p50"])


def test_the_wire_answers_as_the_whole_network(finished):
    for record in RecordStore(finished[0]).all():
        assert record.utility["agreement"] == 100.0
        assert record.utility["relative_error"] <= 1e-5
        whole = record.utility["accuracy_whole"]
        assert record.utility["accuracy"] == pytest.approx(whole, abs=1e-9)


def test_the_attack_saw_the_capture_and_the_capture_alone(finished):
    """Every captured id is the client's; none of the victims' pixels lie in the capture."""
    out = finished[0]
    for place in (out / "points").iterdir():
        join = read_json(place / "evaluation" / "join.json")["rows"]
        ids, features = Capture.open(place / "capture").features()
        assert set(ids) == set(join)
        assert len(features) == 24


def test_the_same_command_again_repeats_nothing(finished):
    out = finished[0]
    before = {p.name: p.stat().st_mtime_ns for p in out.glob("records/*.json")}
    assert inside(bench, sweep(out)[3:]).exit_code == 0
    assert before == {p.name: p.stat().st_mtime_ns for p in out.glob("records/*.json")}


@pytest.mark.slow
def test_several_processes_record_the_same_points_and_train_nothing_twice(finished):
    """Beside the finished run, so that victim and judge are there."""
    out, *_ = finished
    before, mine = victims_of(out), out.parent / "beside"
    done = inside(bench, [*sweep(mine)[3:], "--workers=2"])
    assert done.exit_code == 0, done.output
    assert victims_of(out) == before
    found = [{r.hash: r for r in RecordStore(place).all()} for place in (out, mine)]
    assert found[0].keys() == found[1].keys()
    for point, record in found[1].items():
        alone = found[0][point].leakage["psnr"].mean  # other threads round otherwise
        assert record.leakage["psnr"].mean == pytest.approx(alone, abs=0.5)
        assert record.environment["side_by_side"]
        assert record.latency_facts["record"], "measured alone, at the end"


@pytest.mark.slow
def test_a_killed_run_continues(tmp_path):
    """Killed with its first record written: that one is kept, and in the end none is missing."""
    out = tmp_path / "run"
    with begun(out, lambda: list(out.glob("records/*.json"))) as first:
        first.kill()
    early = {p.name: p.stat().st_mtime_ns for p in out.glob("records/*.json")}
    assert 1 <= len(early) < 4, "the run was killed in its middle"
    done = run(sweep(out))
    assert done.returncode == 0, done.stdout + done.stderr
    now = {p.name: p.stat().st_mtime_ns for p in out.glob("records/*.json")}
    assert early.items() <= now.items()
    assert len(now) == 4


@pytest.mark.slow
def test_a_secret_seed_repeats_a_defended_run(tmp_path):
    """Ids, order, noise and numbers are the same; without the flag they would not be."""
    found = []
    for name in ("one", "two"):
        more = ["--secret-seed=5", "--defense=gaussian:level=0.5", "--splits=block1"]
        words = [*sweep(tmp_path / name, *more), "--attack=decoder"]
        words = [word for word in words if word not in RMLE]
        done = run(words)
        assert done.returncode == 0, done.stdout + done.stderr
        records = RecordStore(tmp_path / name).all()
        found.append([(r.hash, r.leakage, r.utility["accuracy"]) for r in records])
        join = next((tmp_path / name / "points").glob("*/evaluation/join.json"))
        found[-1].append(read_json(join)["rows"])
    assert found[0] == found[1]
    assert {r.config["knowledge"] for r in records} == {"adaptive", "unaware"}


def test_every_figure_can_be_recomputed_from_what_is_kept(finished, tmp_path):
    for record in RecordStore(finished[0]).all():
        count = 24 if record.config["attack"] == "decoder" else 2
        assert (record.kept.victims, record.kept.of) == (count, count)
    require_noticed(finished[0], tmp_path)


def test_another_config_in_the_folder_is_refused(finished):
    done = inside(bench, sweep(finished[0], "--seed=9")[3:])
    assert done.exit_code == 2
    assert "seed = 0, given was 9" in " ".join(done.output.split())


def test_the_adversary_works_from_capture_and_grant_alone(finished, tmp_path):
    """`bench grant`, then `adversary attack` where no client half is in reach."""
    place = finished[0] / "points" / "block1.2"
    grant, out = tmp_path / "grant", tmp_path / "out"
    words = ["grant", str(place / "deployment"), "--out", str(grant)]
    done = inside(bench, [*words, "--observe=64", "--validation=16"])
    assert done.exit_code == 0, done.output
    capture = tmp_path / "capture"
    capture.mkdir()
    for path in (place / "capture").iterdir():
        (capture / path.name).write_bytes(path.read_bytes())
    attack = ["attack", str(capture), "--knows", str(grant)]
    more = ["--attack=decoder", "--set=epochs=1", "--out", str(out)]
    done = inside(adversary, [*attack, *more])
    assert done.exit_code == 0, done.output
    images = read_tensors(out / "reconstructions.safetensors")
    join = read_json(place / "evaluation" / "join.json")["rows"]
    assert set(json.loads((out / "estimate.json").read_text())["ids"]) == set(join)
    assert set(images) == set(join)
    assert {tuple(image.shape) for image in images.values()} == {(3, 32, 32)}
    assert torch.stack([v.min() for v in images.values()]).min() >= 0
    done = inside(adversary, [*attack, "--attack=rmle", "--out", str(tmp_path / "no")])
    assert done.exit_code == 2
    assert "'head'" in done.output


def test_report_is_rebuilt_from_records_alone(finished, tmp_path):
    source = finished[0]
    bare = tmp_path / "bare"
    for folder in ("records", "images", "latency"):
        (bare / folder).mkdir(parents=True)
        for path in (source / folder).iterdir():
            (bare / folder / path.name).write_bytes(path.read_bytes())
    (bare / "data.json").write_bytes((source / "data.json").read_bytes())
    done = inside(bench, ["report", str(bare)])
    assert done.exit_code == 0, done.output
    assert (bare / "report.html").read_bytes() == Path(source / "report.html").read_bytes()


@pytest.mark.slow
def test_links_and_wires_are_columns_of_their_own(finished, tmp_path):
    """Beside the same point in FP32 and without a link."""
    plain = next(
        record
        for record in RecordStore(finished[0]).all()
        if (record.split["name"], record.config["attack"]) == ("block3.2", "decoder")
    )
    out = tmp_path / "run"
    words = sweep(out, "--splits=block3", "--attack=decoder", "--wire=INT8", "--keep-images=3")
    words = [word for word in words if word not in RMLE]
    done = inside(bench, [*words[3:], "--link=rtt=40ms,up=50mbps,down=50mbps"])
    assert done.exit_code == 0, done.output
    (narrow,) = RecordStore(out).all()
    assert [plain.split["name"], narrow.split["name"]] == ["block3.2", "block3.2"]
    assert [plain.config["wire"], narrow.config["wire"]] == ["FP32", "INT8"]
    assert narrow.rate["payload_up"] < 0.3 * plain.rate["payload_up"]
    assert plain.utility["relative_error"] < 1e-5 < narrow.utility["relative_error"]
    (link,) = [key for key in narrow.latency if key.startswith("link ")]
    assert narrow.latency[link]["p50"] > 40.0
    assert (narrow.kept.victims, narrow.kept.of) == (3, 24)
    page = (out / "report.html").read_text()
    assert "3 of 24 scored victims" in page
    for words in (link.removeprefix("link "), "INT8", "Pareto front"):
        assert words in page
