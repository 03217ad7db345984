"""Who is a member, over the wire: what is sent, what is seen, what a sweep makes of it."""

import json
import shutil

import in_process
import pytest
import torch
from typer.testing import CliRunner

from adversary.contract.attack import Attack
from adversary.contract.workplace import ALONE
from adversary.registry import ATTACKS
from bench.cli import app
from bench.point import run as points
from bench.point.sights.members import by_id, halves
from splitlab.capture import Capture
from splitlab.contracts import Estimate, Features, Scores
from splitlab.contracts.kinds import MEMBERSHIP
from splitlab.errors import SplitLabError
from splitlab.record import RecordStore
from splitlab.storage import read_json, read_tensors, write_json

N = 12
WORDS = ("--model=tiny_cnn", "--splits=1", "--epochs=0", "--device=cpu", "--train-images=64")
FEW = ("--queries=16", "--validation=16", f"--victims={N}")
ATTACK = "--attack=loss", "--attack=server-side"
SHOWN = []


class ServerSide(Attack):
    """Whoever's replies are the surest: of a server that sees features and its bodies' outputs."""

    name = "server-side"
    source = "a test"
    sees = (Features, Scores)
    answers = "label"
    estimates = MEMBERSHIP
    asks = {"undefended": frozenset({"bodies"})}  # noqa: RUF012

    def fit(self, threat, rng, work=ALONE):
        del rng, work
        (body,) = threat.need("bodies")

        def estimate(features, scores):
            SHOWN.append((features, scores))
            with torch.no_grad():
                assert torch.allclose(body(features.features), features.outputs[0], atol=1e-5)
            return Estimate(features.outputs[0].log_softmax(1).amax(1))

        return estimate


def swept(run, *words):
    done = CliRunner().invoke(app, ["sweep-split-points", *WORDS, *FEW, *words, f"--out={run}"])
    assert done.exit_code == 0, f"{done.output[-2000:]}\n{done.exception!r}"
    return done.output


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run that was killed before its second row, and continued; how often members were sent."""
    run, sent = tmp_path_factory.mktemp("membership") / "run", []
    with pytest.MonkeyPatch.context() as patch:
        line = {"server-side": f"{__name__}:ServerSide"}
        patch.setattr(ATTACKS, "_entries", {**ATTACKS._entries, **line})
        in_process.stand_in(patch)
        send = in_process.run_edge_client
        patch.setattr(
            "bench.point.capture.run_edge_client",
            lambda words, *others: (sent.append(words), send(words, *others)),
        )
        with patch.context() as killed:

            def stop(_attack, _options, real=points.make_attack):
                if RecordStore(run).all():
                    raise SplitLabError("killed")
                return real(_attack, _options)

            killed.setattr(points, "make_attack", stop)
            words = ["sweep-split-points", *WORDS, *FEW, *ATTACK, f"--out={run}"]
            assert CliRunner().invoke(app, words).exit_code != 0
        output = swept(run, *ATTACK)
        return run, sent, output


def test_members_and_as_many_others_are_sent_once_mixed_and_under_ids_of_chance(made):
    run, sent, _ = made
    (place,) = (run / "points").iterdir()
    (words,) = sent
    assert words[words.index("--partition") + 1] == "train:64,victims"
    join = read_json(place / "members" / "evaluation" / "join.json")["rows"]
    assert sorted(join.values()) == list(range(2 * N))
    came = [join[key] < N for key in Capture.open(place / "members" / "capture").features()[0]]
    assert came != sorted(came)
    assert came != sorted(came, reverse=True)
    assert not (place / "capture").exists(), "no image attack asked for the victims alone"
    requests = {key.partition("/")[0] for key in join}
    told = {
        name: {value < N for key, value in join.items() if key.startswith(name)}
        for name in requests
    }
    assert any(len(both) == 2 for both in told.values()), "a request's id tells who is a member"


def test_an_attack_sees_answers_and_replies_of_the_records_it_names(made):
    run, _, _ = made
    (place,) = (run / "points").iterdir()
    join = read_json(place / "members" / "evaluation" / "join.json")["rows"]
    logits = read_tensors(place / "members" / "evaluation" / "logits.safetensors")["logits"]
    features, scores = SHOWN[-1]
    assert list(features.ids) == sorted(features.ids), "their order is that of random ids alone"
    rows = torch.tensor([join[key] for key in features.ids])
    assert scores.ids == features.ids
    assert scores.labels is None, "it did not ask for them"
    assert torch.equal(scores.scores, logits[rows].argmax(1))
    assert torch.allclose(features.outputs[0], logits[rows], atol=1e-5), "without a tail"


def test_the_record_tells_members_from_others_and_what_is_doubtful_of_that(made):
    run, _, output = made
    records = {record.config["attack"]: record for record in RecordStore(run).all()}
    assert set(records) == {"loss", "server-side"}
    for record in records.values():
        assert record.estimates == "membership"
        auc = record.leakage["membership_auc"]
        assert auc.items == 2 * N > 2 * auc.groups, "photographs, each of members and others"
        assert record.floor["membership_auc"].mean == 0.5
        assert any("other parts of the same photographs" in doubt for doubt in record.doubts)
        assert record.utility["accuracy"] == record.utility["accuracy_whole"]
        assert (run / "images" / record.images).read_text().startswith("<svg")
        assert record.utility["victims"] == N, "as many as members, whatever was asked for"
    assert records["loss"].attack_facts["learned_from"] == "nothing"
    assert "learned_from" not in records["server-side"].attack_facts
    assert records["loss"].threat == {
        "auxiliary": 16,
        "validation": 16,
        "labels": True,
        "box": "black",
    }
    page, table = (run / "report.html").read_text(), (run / "records.csv").read_text()
    assert "false positive rate" in page or "svg+xml" in page
    assert "membership_auc" in table
    assert "one score for all" in page
    assert "mean image" not in output + page
    assert "Upper row" not in page
    assert "share of the others taken for members" in page
    doubts = json.loads((run / "report.json").read_text())["doubts"]
    assert any("other parts of the same photographs" in doubt for doubt in doubts)


def test_truth_is_joined_by_id(made):
    """Kept with the record: the members are those that the victim has learned from."""
    run, _, _ = made
    record = next(r for r in RecordStore(run).all() if r.config["attack"] == "loss")
    kept = read_tensors(run / "images" / record.kept.file)
    assert kept["truth"].sum() == N
    assert torch.equal(kept["truth"].bool(), kept["victim"] < N)
    order = kept["truth"].bool().tolist()
    assert order not in (sorted(order), sorted(order, reverse=True))


def test_places_tell_nothing_of_the_records():
    """Whoever knows the public seed must not read from a row's place whether it is a member's."""
    rows = halves(2 * N, None, 0).tolist()
    for turn in (0, 1):
        draw = torch.Generator().manual_seed(turn)
        ids = [f"{number:032x}/0" for number in torch.randperm(1000, generator=draw)[: 2 * N]]
        value = torch.tensor(rows, dtype=torch.float32)
        seen = by_id(Features(tuple(ids), value, (value + 1,)))
        wanted = [row for _, row in sorted(zip(ids, rows, strict=True))]
        assert list(seen.ids) == sorted(ids)
        assert seen.features.tolist() == wanted
        assert seen.outputs[0].tolist() == [row + 1 for row in wanted]


@pytest.mark.parametrize(("limit", "count"), [(None, 2 * N), (6, 6), (1, 2), (999, 2 * N)])
def test_a_few_records_are_as_many_of_both(limit, count):
    rows = halves(2 * N, limit, 0)
    assert len(rows) == len(set(rows.tolist())) == count
    assert 2 * int((rows < N).sum()) == count


def test_records_that_are_not_those_of_this_data_are_refused(made, tmp_path, monkeypatch):
    in_process.stand_in(monkeypatch)
    run = tmp_path / "run"
    shutil.copytree(made[0], run)
    (account,) = run.glob("points/*/members/evaluation/evaluation.json")
    write_json(account, {**read_json(account), "data_hash": "0" * 64})
    words = ["sweep-split-points", *WORDS, *FEW, "--attack=threshold", f"--out={run}"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert "the client has sent other records (00000000)" in " ".join(done.output.split())


def test_a_dry_run_tells_what_members_take(tmp_path):
    words = ["sweep-split-points", *WORDS, *FEW, "--attack=loss", "--dry-run", "--json"]
    done = CliRunner().invoke(app, [*words, f"--out={tmp_path / 'dry'}"])
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    assert "attack loss" in done.stdout
    assert not (tmp_path / "dry" / "records").exists()
