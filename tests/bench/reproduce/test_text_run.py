"""Text on the wire gives what the process gives; `ensembler-text` in small, by the one path."""

from __future__ import annotations

from html import escape
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from text_runs import SIZES, TINY, request_of, shrink

from adversary.contract.attack import FittedOn
from adversary.contract.threat import ThreatModel
from adversary.contract.workplace import ALONE, Estimator, Workplace
from adversary.inversion.text.cipher import Cipher
from adversary.inversion.text.shadow import TextShadow
from adversary.registry import OF_EXPERIMENTS
from bench.estimate import requests
from bench.estimate.requests import reproduce_estimate, search_estimate
from bench.point.run import run
from bench.point.sights import translated
from bench.point.sights.generated import Generated
from bench.point.sights.translated import Translated, common_words
from bench.point.sights.translating import TextHalves, answers, last_features, translate
from bench.reproduce.ensembler.text import declared, text
from bench.reproduce.frame.again import shown_again
from bench.reproduce.frame.run import begin
from bench.reproduce.frame.search import search
from defenses import parse
from splitlab.capture import Capture
from splitlab.data.text.sentences import grammar_splits
from splitlab.data.text.vocabulary import PAD
from splitlab.errors import BadInput
from splitlab.metrics.words import words_read
from splitlab.models.seq2seq import Seq2Seq, Seq2SeqSpec
from splitlab.randomness import Secret
from splitlab.record import Record, RecordStore
from splitlab.storage import read_json, read_tensors
from splitlab.training.translator import fed, greedy

SPEC = Seq2SeqSpec(
    source_words=12,
    target_words=12,
    source_length=5,
    target_length=6,
    width=16,
    heads=2,
    layers=1,
    feedforward=16,
)
REQUEST = "ab" * 16


def halves(defense: str = "none") -> TextHalves:
    net = Seq2Seq(SPEC, 3).eval().requires_grad_(False)
    secret = Secret.new(0)
    return TextHalves(net, parse(defense).protectors(SPEC.feature_shape, secret), secret)


def source(rows: int = 7) -> torch.Tensor:
    return torch.randint(4, 12, (rows, 5), generator=torch.Generator().manual_seed(0))


def test_the_wire_translates_as_the_process_does(tmp_path: Path) -> None:
    served = halves()
    sent = translate(served, source(), tmp_path, REQUEST)
    with torch.no_grad():
        assert sent.target.equal(greedy(served.net, source(), 6))
    ids, features = last_features(Capture.open(tmp_path))
    assert sorted(ids) == sorted(sent.join)
    order = [sent.join[name] for name in ids]
    blank = torch.full((7, 6), PAD)
    torch.testing.assert_close(features[:, :5], served.net.head(fed(source(), blank))[order][:, :5])
    assert order != sorted(order), "the victims are sent shuffled"
    assert sent.messages > 1


def test_noise_is_the_same_in_every_message_of_a_translation(tmp_path: Path) -> None:
    served = halves("gaussian:level=0.5")
    translate(served, source(1), tmp_path, REQUEST)
    exchanges = Capture.open(tmp_path).exchanges()
    assert len(exchanges) > 1
    first = exchanges[0].feature[:, :5]
    assert all(torch.equal(exchange.feature[:, :5], first) for exchange in exchanges)
    tokens = fed(source(1), torch.full((1, 6), PAD))
    clean = served.net.head(tokens)[:, :5]
    assert float((first - clean).std()) == pytest.approx(0.5, rel=0.3)
    asked = answers(served, tokens.expand(300, -1))
    noise = asked - served.net.head(tokens)
    assert float(noise.std()) == pytest.approx(0.5, rel=0.1)
    assert not torch.equal(noise[0], noise[299]), "each query has noise of its own"


def never(what: str) -> Any:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError(what)

    return refuse


def records_of(folder: Path) -> dict[str, Record]:
    return {r.config["measurement"]: r for r in RecordStore(folder).all()}


def test_it_is_measured_shown_again_and_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after three attacks it goes on with the translator and the sentences that it had."""
    shrink(monkeypatch)
    request, fit = request_of(tmp_path), Cipher.fit
    calls: list[str] = []

    def once(attack: Cipher, *words: Any) -> Any:
        calls.append(attack.name)
        if len(calls) == 3:
            raise RuntimeError("killed")
        return fit(attack, *words)

    monkeypatch.setattr(Cipher, "fit", once)
    with pytest.raises(RuntimeError, match="killed"):
        text(request)
    early = {p.name: p.read_bytes() for p in (request.out / "records").glob("*.json")}
    assert len(early) == 5

    monkeypatch.setattr(Cipher, "fit", fit)
    for made in ("train_translator", "translate"):
        monkeypatch.setattr(translated, made, never(made))
    shown = text(request)
    records = records_of(request.out)
    assert len(records) == 8
    assert (
        early.items()
        <= {p.name: p.read_bytes() for p in (request.out / "records").glob("*.json")}.items()
    )
    rows = read_json(request.out / "summary.json")["rows"]
    monkeypatch.setattr(Translated, "__init__", never("measured again"))
    text(request)
    shown_again(request.out)
    assert read_json(request.out / "summary.json")["rows"] == rows

    one = records["none/both"]
    assert (one.estimates, one.config["dataset"]) == ("tokens", "grammar")
    assert one.threat == {"auxiliary": 120, "validation": 5, "box": "black"}
    assert records["none/shadow"].threat["bodies"]
    assert records["none/ceiling"].threat["observe"] == 120
    assert one.rate["payload_up"] > 100
    page = shown.page.read_text()
    assert page.count("data:image/svg+xml") >= 8
    assert "on sentences that the adversary held out" in page
    picture = (request.out / "images" / str(one.images)).read_text()
    assert picture.startswith("<svg")
    data = grammar_splits(**SIZES, seed=0)
    for row in data.encoded("victims", 18, 18).source[:6]:
        assert escape(data.english.decode(row)) in picture


def test_numbers_are_those_of_the_translators_own_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand: what the cipher reads of the head's features; joined a row off it is another."""
    shrink(monkeypatch)
    run = begin(declared("quick"), request_of(tmp_path)).run(0)
    point = run.point(run.experiment.measurements[1])
    sight = Translated(point, run.lab)
    (seen,), truth, threat = sight.seen(), sight.truth(), sight.threat()
    (kept,) = (tmp_path / "cache").glob("translators/*/translator.safetensors")
    data = run.splits
    net = Seq2Seq(TINY.spec(len(data.english), len(data.german)), 5)
    net.load_state_dict(read_tensors(kept))
    victims = data.encoded("victims", 18, 18)
    assert truth.items.source.equal(victims.source)
    order = [truth.join[name] for name in seen.ids]
    with torch.no_grad():
        wanted = net.eval().head(fed(victims.source, victims.target))[order]
    torch.testing.assert_close(seen.features[:, :18], wanted[:, :18])
    assert threat.granted() == (
        *("name", "feature", "input", "wire", "arch", "head_end", "tail_start", "sentences"),
    )
    (outcome,) = [made for key, made in run.missing() if key == "none/alone"]
    assert isinstance(outcome, Record)
    kept_file = run.lab.images / str(outcome.kept.file)
    tensors = read_tensors(kept_file)
    assert tensors["truth"].equal(victims.source[order])
    share = words_read(victims.source[order], tensors["estimate"], 4).mean()
    assert outcome.leakage["words_read"].mean == pytest.approx(float(share))
    common = common_words(truth.own.source)
    assert len(common) == 10
    assert common_words(torch.tensor([[4, 4, 5, 0, 0, 0]])).tolist() == [4, 5]


class Borrows(TextShadow):
    """Answers with the shadow's own fit."""

    name: ClassVar[str] = "borrows"
    fitted_on: ClassVar[FittedOn] = "capture"

    def fit(self, threat: ThreatModel, rng: torch.Generator, work: Workplace = ALONE) -> Estimator:
        del threat, rng
        return work.fitted(TextShadow(**self.model_dump()))


def test_a_fit_that_another_row_borrows_is_the_row_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink(monkeypatch)
    line = {"borrows": f"{__name__}:Borrows"}
    monkeypatch.setattr(OF_EXPERIMENTS, "_entries", {**OF_EXPERIMENTS._entries, **line})
    made = begin(declared("quick"), request_of(tmp_path)).run(0)
    (row,) = [made.point(one) for one in made.experiment.measurements if one.key == "none/shadow"]
    own, borrowed = (
        run(row.model_copy(update={"attack": attack, "stream": (attack,)}), made.lab)
        for attack in ("text-shadow", "borrows")
    )
    assert borrowed.effort["borrowed_seconds"] > 0, "it was fitted again, from other draws"
    assert borrowed.leakage == own.leakage


def test_generators_and_text_have_one_stream_for_rows_and_for_who_borrows() -> None:
    for kind in (Translated, Generated):
        sight = object.__new__(kind)
        sight._config = SimpleNamespace(seed=9, attack="one")  # type: ignore[assignment]
        drawn = (sight.rng(), kind.stream(sight._config, "another"))
        assert {one.initial_seed() for one in drawn} == {9}


def test_a_corpus_is_attacked_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)
    monkeypatch.setattr("bench.reproduce.ensembler.text.PLACES", declared("quick").places[:1])
    pairs = grammar_splits(train=300, auxiliary=1, validation=1, victims=1).train
    for place, name in enumerate(("en", "de")):
        lines = "\n".join(" ".join(pair[place]) for pair in pairs)
        (tmp_path / f"train.{name}").write_text(lines)
    request = request_of(tmp_path, scale="paper", text_root=tmp_path)
    text(request)
    records = records_of(request.out)
    assert {r.leakage["words_read"].items for r in records.values()} == {18}
    assert {(r.config["dataset"], r.config["train_images"]) for r in records.values()} == {
        ("corpus", 150)
    }
    assert str(tmp_path) not in (request.out / "experiment.json").read_text()


def test_the_paper_scale_without_a_corpus_says_why(tmp_path: Path) -> None:
    for given, why in (
        ({}, "--text-root was not given"),
        ({"text_root": tmp_path / "nothing"}, "train.en is not there"),
        ({"device": "auto"}, "no GPU here"),
    ):
        if "device" in given and torch.cuda.is_available():
            continue
        request = request_of(tmp_path, scale="paper", **given)
        text(request)
        rows = read_json(request.out / "summary.json")["rows"]
        assert len(rows) == 8
        assert all(why in row["skipped"] for row in rows)


def test_other_networks_and_cuts_are_refused() -> None:
    setup = declared("quick").setup
    at = (setup.head_end, setup.tail_start)
    for change, cut, words in (
        ({"model": "resnet20"}, at, "resnet20 translates no sentences"),
        ({"arguments": {"heads": 3}}, at, "heads=3 must divide"),
        ({}, ("encoder", "tail"), "cut at embeddings and projection, not at encoder"),
    ):
        with pytest.raises(BadInput, match=words):
            Translated.check(setup.model_copy(update=change), {cut: []})
    with pytest.raises(BadInput, match="'photo-patches' is no text"):
        Translated.splits(
            setup.model_copy(update={"dataset": "photo-patches"}), 0, root=None, download=False
        )


def test_a_dry_run_rehearses_one_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)
    monkeypatch.setattr(requests, "FREE_SECONDS", float("inf"))
    request = request_of(tmp_path, seeds=(0, 1), workers=4)
    found = reproduce_estimate(text, request)
    assert found.points == 2
    assert {"translator", "shadow embeddings"} <= {stage.what for stage in found.stages}
    assert not (request.out / "records").exists()
    assert not (tmp_path / "cache").exists()


def test_a_search_sends_validation_sentences_and_no_victim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three of the five are sent, the other two may be granted; the translator is that of rows."""
    shrink(monkeypatch)
    sent: list[torch.Tensor] = []
    translated_by = translated.translate

    def spy(served: TextHalves, source: torch.Tensor, *rest: Any) -> Any:
        sent.append(source)
        return translated_by(served, source, *rest)

    monkeypatch.setattr(translated, "translate", spy)
    request = request_of(tmp_path)
    data = grammar_splits(**SIZES, seed=0)
    shown = data.held_out(3, 0)
    found = search(declared("quick"), "none/alone", {"steps": [1, 2]}, request, 3)
    assert [one.trials[0].failed for one in found.tried] == ["", ""]
    (own,) = sent  # once for both settings
    assert own.equal(shown.encoded("victims", 18, 18).source)
    assert set(shown.victims) | set(shown.validation) == set(data.validation)
    assert (len(shown.victims), len(shown.validation)) == (3, 2)
    records = RecordStore(request.out / "search").all()
    assert {r.leakage["words_read"].items for r in records} == {3}
    assert {r.threat.get("validation") for r in records} <= {None, 2}
    row = begin(declared("quick"), request).run(0)
    assert len(Translated(row.point(row.experiment.measurements[1]), row.lab).sent.join) == 12
    assert len(sent[1]) == SIZES["victims"]
    assert len(list((tmp_path / "cache").glob("translators/*/translator.safetensors"))) == 1
    with pytest.raises(BadInput, match=r"5 validation sentences.*give 1 to 4"):
        data.held_out(5, 0)


def test_a_dry_run_of_a_search_rehearses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink(monkeypatch)
    monkeypatch.setattr(requests, "FREE_SECONDS", float("inf"))
    request = request_of(tmp_path)
    found = search_estimate(declared("quick"), "none/alone", {"steps": [1]}, request, 3)
    assert "translator" in {stage.what for stage in found.stages}


@pytest.mark.slow
def test_side_by_side_gives_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink(monkeypatch)
    alone = request_of(tmp_path / "alone")
    beside = request_of(tmp_path / "beside", workers=2)
    text(alone)
    text(beside)
    numbers = [
        {key: record.leakage for key, record in records_of(one.out).items()}
        for one in (alone, beside)
    ]
    assert numbers[0] == numbers[1]
