"""A small experiment from training over real processes to the page; killed, it continues."""

import json
import shutil
from dataclasses import replace

import pytest
from recomputed import require_noticed
from reproductions import SETUP, small
from typer.testing import CliRunner

from bench import executors
from bench.cli import app
from bench.estimate.requests import reproduce_estimate
from bench.point.lab import lab as labs
from bench.reproduce.frame.experiment import Line, Measurement
from bench.reproduce.frame.request import ExperimentRequest, seeds_of
from bench.reproduce.frame.run import Framed, reproduce
from splitlab.capture import Capture
from splitlab.deployment import ClientHalf
from splitlab.errors import BadInput, Unavailable, UnknownName
from splitlab.record import RecordStore
from splitlab.storage import read_json
from splitlab.training.plain_progress import PlainProgress


class Killed(Exception):
    """Stands for a kill."""


class Work:
    def __init__(self, deadly):
        self.deadly = deadly

    def advance(self, count, *_loss):
        if self.deadly and count == 1:
            raise Killed

    def close(self):
        pass


class Killing:
    """Progress that ends the run when the first measurement is done."""

    def task(self, name, *_counts):
        return Work(deadly=name == "small")


def request(out, **more):
    return ExperimentRequest(out=out, seeds=(0,), device="cpu", **more)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that was killed with its first record written, and started again."""
    out = tmp_path_factory.mktemp("reproduce") / "run"
    with pytest.raises(Killed):
        reproduce(small(), request(out, progress=Killing(), secret_seed=7))
    early = {p.name: p.read_bytes() for p in out.glob("records/*.json")}
    deployed = (out / "seed-0/places/none/deployment/server/deployment.json").read_bytes()
    shown = reproduce(small(), request(out))
    return out, early, deployed, shown


def test_a_killed_run_continues_and_repeats_nothing(finished):
    out, early, deployed, _ = finished
    assert len(early) == 1
    assert {name: (out / "records" / name).read_bytes() for name in early} == early
    kept = out / "seed-0/places/none/deployment/server/deployment.json"
    assert kept.read_bytes() == deployed
    assert len(RecordStore(out).all()) == len(small().measurements)


def test_a_finished_run_starts_no_process_and_measures_nothing(finished, monkeypatch):
    out, *_ = finished
    before = (out / "summary.json").read_text()
    monkeypatch.setattr(labs, "CaptureRun", None)
    monkeypatch.setattr(executors, "run", None)
    lines = []
    reproduce(small(), request(out, progress=PlainProgress(lines.append)))
    assert (out / "summary.json").read_text() == before
    assert lines == []
    told = reproduce_estimate(Framed(lambda _: small()), request(out)).told()
    assert told == "all 4 points are finished; only tables and the page are written"


def test_every_victim_crossed_the_wire_and_the_page_is_there(finished):
    out, _, _, shown = finished
    for place in ("none", "many"):
        ids, features = Capture.open(out / "seed-0/places" / place / "capture").features()
        assert len(set(ids)) == len(features) == SETUP.victims
    assert shown.page == out / "report.html"
    assert shown.page.read_text().count("data:image/png;base64,") == 4
    assert len((out / "table.csv").read_text().splitlines()) == 4


def test_records_say_what_was_granted_and_what_was_found(finished):
    by_key = {r.config["measurement"]: r for r in RecordStore(finished[0]).all()}
    head = by_key["many/head"]
    assert head.threat["capture"] is True
    assert head.threat["auxiliary"] == SETUP.auxiliary // 2
    assert head.attack_facts["learned_from"].startswith("own head")
    assert by_key["many/decoder"].threat["observe"] == SETUP.queries
    assert by_key["many/decoder"].config["knowledge"] == "adaptive"
    assert by_key["none/blind"].leakage["psnr"].mean == pytest.approx(
        by_key["none/blind"].floor["psnr"].mean
    )
    assert by_key["none/decoder"].utility["agreement"] == 100.0
    # Without noise in process and with noise on the wire: close, and not the same.
    assert by_key["many/decoder"].utility["relative_error"] > 0


def test_an_ensembles_deployment_has_its_bodies_and_its_training(finished):
    from defenses import parse

    place = finished[0] / "seed-0/places/many"
    client = ClientHalf.load(place / "deployment" / "client", parse)
    assert len(client.outputs) == 2
    assert "cosines" in read_json(place / "training.json")
    assert "validation_accuracy" in read_json(place / "training.json")


def test_summary_has_rows_claims_costs_and_where_it_was_measured(finished):
    summary = json.loads((finished[0] / "summary.json").read_text())
    assert [row["key"] for row in summary["rows"]] == ["none", "blind", "many"]
    assert summary["claims"][1]["verdict"] == "cannot be judged"
    assert summary["tables"][0]["title"] == "Accuracy and cost of each deployment"
    assert summary["environment"]["commit"]
    assert summary["seconds"]["0"] > 0
    assert str(finished[0]) not in json.dumps(summary)


def test_every_figure_can_be_recomputed_from_what_is_kept(finished, tmp_path):
    assert {r.kept.victims for r in RecordStore(finished[0]).all()} == {12}
    require_noticed(finished[0], tmp_path)


def test_keep_images_below_none_is_refused(tmp_path):
    words = ["reproduce", "ensembler-table1", "--keep-images=-1", "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert "--keep-images" in done.output
    with pytest.raises(BadInput, match="--keep-images"):
        request(tmp_path, keep_images=3).refuse("ensembler-text", "keep_images")


def test_another_setup_does_not_continue_in_the_same_folder(finished):
    other = small(setup=SETUP.model_copy(update={"victims": 10}))
    with pytest.raises(BadInput, match="holds a run with victims = 12, wanted is 10"):
        reproduce(other, request(finished[0]))


def test_a_measurement_that_cannot_be_made_says_why_and_the_others_go_on(finished, monkeypatch):
    def unavailable(*_args, **_words):
        raise Unavailable("no such thing on this machine")

    out = finished[0]
    extra = Measurement("many/more", small().measurements[2].place, "mean-image")
    experiment = small()
    more = Line("NONE", "decoder", (extra,), key="more")
    experiment = replace(experiment, lines=(*experiment.lines, more))
    monkeypatch.setattr(executors, "run", unavailable)
    reproduce(experiment, request(out))
    rows = {row["key"]: row for row in read_json(out / "summary.json")["rows"]}
    assert rows["more"]["skipped"] == "no such thing on this machine"
    assert rows["many"]["skipped"] is None
    reproduce(small(), request(out))


def test_names_are_checked_before_anything_is_trained(tmp_path):
    wrong = replace(small().measurements[0], attack="decodr")
    experiment = small(measurements=(wrong, *small().measurements[1:]))
    with pytest.raises(UnknownName, match="decoder"):
        reproduce(experiment, request(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_more_images_than_there_are_is_an_error(tmp_path):
    greedy = small(setup=SETUP.model_copy(update={"train": 10**6}))
    with pytest.raises(BadInput, match="1000000 train images are wanted"):
        reproduce(greedy, request(tmp_path / "run"))


def test_without_the_scales_data_every_row_is_skipped_and_says_why(tmp_path):
    nowhere = SETUP.model_copy(update={"dataset": "cifar10"})
    out = tmp_path / "run"
    reproduce(small(setup=nowhere, scale="paper"), request(out, data_root=tmp_path / "none"))
    rows = read_json(out / "summary.json")["rows"]
    assert all("cifar10 is not whole" in row["skipped"] for row in rows)
    unnamed = SETUP.model_copy(update={"dataset": ""})
    reproduce(small(setup=unnamed, scale="paper"), request(out))
    rows = read_json(out / "summary.json")["rows"]
    assert all("give --dataset" in row["skipped"] for row in rows)


@pytest.mark.parametrize("text", ["", "a", "0,0", "-1", "0;1", "1.5", str(2**40)])
def test_seeds_that_are_none_are_refused(text):
    with pytest.raises(BadInput, match="--seeds"):
        seeds_of(text)


def test_seeds_in_the_order_given():
    assert seeds_of("2, 0,1") == (2, 0, 1)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["ensembler-tabel1"], "unknown experiment"),
        (["ensembler-table1", "--seeds", "x"], "--seeds 'x'"),
        (["ensembler-table1", "--scale", "huge"], "--scale 'huge'"),
    ],
)
def test_the_command_says_what_is_wrong(words, told):
    done = CliRunner().invoke(app, ["reproduce", *words])
    assert done.exit_code == 2
    assert told in done.output


def test_the_command_lists_its_experiments():
    done = CliRunner().invoke(app, ["reproduce", "--help"], env={"COLUMNS": "200"})
    assert done.exit_code == 0
    assert "ensembler-figure3" in done.output


@pytest.mark.slow
def test_side_by_side_gives_the_same_records(finished, tmp_path):
    """Deployments are shared out to two processes; only clocks differ."""
    alone, beside = finished[0], tmp_path / "beside"
    reproduce(small(), request(beside, workers=2, secret_seed=7))
    records = [{r.hash: r for r in RecordStore(out).all()} for out in (alone, beside)]
    assert len(records[1]) == len(small().measurements)
    for point in records[1]:
        record = records[0][point]
        assert records[1][point].leakage == record.leakage
        assert records[1][point].environment["side_by_side"]
        assert not record.environment["side_by_side"]
    assert "on the same cores" in (beside / "report.html").read_text()
    assert "on the same cores" not in (alone / "report.html").read_text()


@pytest.mark.slow
def test_an_error_beside_is_told_here(finished, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(finished[0], out)
    other = replace(small().measurements[2].place, defense="ensembler:N=2,P=2")
    measurements = [
        replace(m, place=other if m.place.name == "many" else m.place, share=0.4)
        for m in small().measurements
    ]
    with pytest.raises(BadInput, match="made for other data or another defence"):
        reproduce(small(measurements=measurements), request(out, workers=2, secret_seed=7))
