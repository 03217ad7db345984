"""The experiment on text in small: the wire gives what the process gives, rows and records."""

import json

import pytest
import torch

from adversary.contract.text_threat import last_features
from adversary.inversion.text.shadow import TextShadow
from adversary.inversion.text.substitution import Decipher
from bench.reproduce.ensembler.text import run as text
from bench.reproduce.ensembler.text.config import PAPER, TextConfig
from bench.reproduce.ensembler.text.run import run
from bench.reproduce.ensembler.text.score import common_words, recovery
from bench.reproduce.ensembler.text.wire import TextHalves, greedy, translate
from defenses import parse
from splitlab.capture import Capture
from splitlab.data.text.sentences import grammar_splits
from splitlab.data.text.vocabulary import PAD
from splitlab.errors import BadInput
from splitlab.models.seq2seq import Seq2Seq, Seq2SeqSpec
from splitlab.randomness import Secret
from splitlab.training.translator import fed

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


def halves(defense="none", **more):
    net = Seq2Seq(SPEC, 3).eval().requires_grad_(False)
    secret = Secret.new(0)
    return TextHalves(net, parse(defense).protectors(SPEC.feature_shape, secret), secret, **more)


def source(rows=7):
    return torch.randint(4, 12, (rows, 5), generator=torch.Generator().manual_seed(0))


def test_the_wire_translates_as_the_process_does(tmp_path):
    served = halves()
    sent = translate(served, source(), tmp_path, REQUEST)
    blank = torch.full((7, 6), PAD)
    with torch.no_grad():
        assert sent.target.equal(greedy(served.net, source(), blank))
    ids, features = last_features(Capture.open(tmp_path))
    assert sorted(ids) == sorted(sent.ids)
    row_of = {name: row for row, name in enumerate(ids)}
    seen = features[[row_of[name] for name in sent.ids]]
    torch.testing.assert_close(seen[:, :5], served.net.head(fed(source(), blank))[:, :5])
    assert ids != sent.ids, "the victims are sent shuffled"
    assert sent.messages > 1


def test_noise_is_the_same_in_every_message_of_a_translation(tmp_path):
    served = halves("gaussian:level=0.5")
    translate(served, source(1), tmp_path, REQUEST)
    exchanges = Capture.open(tmp_path).exchanges()
    assert len(exchanges) > 1
    first = exchanges[0].feature[:, :5]
    assert all(torch.equal(exchange.feature[:, :5], first) for exchange in exchanges)
    clean = served.net.head(fed(source(1), torch.full((1, 6), PAD)))[:, :5]
    assert float((first - clean).std()) == pytest.approx(0.5, rel=0.3)


def test_recovery_counts_words_alone():
    truth = torch.tensor([[4, 5, 2, 0], [6, 4, 4, 2]])
    read = torch.tensor([[4, 9, 9, 9], [6, 4, 4, 0]])
    found = recovery(read, truth, torch.tensor([4, 4, 4, 2]), torch.tensor([4]))
    assert found["recovery"] == pytest.approx(75.0)
    assert found["whole_sentences"] == pytest.approx(50.0)
    assert found["rarer_words"] == pytest.approx(50.0)
    assert common_words(torch.tensor([[4, 4, 5, 0, 0, 0]])).tolist() == [4, 5]


SMALL = TextConfig(
    width=16,
    heads=2,
    layers=1,
    feedforward=16,
    epochs=1,
    train=120,
    auxiliary=120,
    validation=5,
    victims=12,
    shadow=TextShadow(epochs=1, decoder_epochs=1),
    decipher=Decipher(steps=2),
    defenses=("none", "gaussian:level=3"),
    wire="FP16",
)


def test_a_small_run_end_to_end(tmp_path):
    rows = run("quick", 0, tmp_path, device="cpu", secret_seed=1, config=SMALL)
    assert len(rows) == 12
    attacks = {row["attack"] for row in rows}
    assert {"floor", "shadow, on client features", "cipher, source and target"} <= attacks
    hidden = [row for row in rows if row["defense"] != "none" and "skipped" in row]
    assert [row["attack"] for row in hidden] == [
        "cipher, source alone",
        "cipher, source and target",
    ]
    records = [json.loads(path.read_text()) for path in (tmp_path / "records").glob("*.json")]
    assert len(records) == 12
    for record in records:
        assert {"config", "data", "environment", "seed"} <= set(record)
        assert record["environment"]["commit"]
    table = (tmp_path / "text.md").read_text()
    assert "standard translation" in table
    assert "| gaussian:level=3 | cipher, source alone | skipped (" in table
    again = run("quick", 0, tmp_path / "again", device="cpu", secret_seed=1, config=SMALL)
    wanted = [row.get("recovery") for row in rows]
    assert [row.get("recovery") for row in again] == wanted


def test_a_finished_run_is_read_back_and_another_is_refused(tmp_path):
    rows = run("quick", 0, tmp_path, device="cpu", config=SMALL)
    (tmp_path / "checkpoints" / "victim-0.pt").unlink()
    assert run("quick", 0, tmp_path, device="cpu", config=SMALL) == rows
    assert not (tmp_path / "checkpoints" / "victim-0.pt").exists()
    with pytest.raises(BadInput, match="other settings"):
        run("quick", 1, tmp_path, device="cpu", config=SMALL)


def test_a_killed_run_keeps_what_it_has_attacked(tmp_path, monkeypatch):
    real, calls = text._attack, []

    def once(*words):
        calls.append(words[1])
        if len(calls) > 1:
            raise RuntimeError("killed")
        return real(*words)

    monkeypatch.setattr(text, "_attack", once)
    with pytest.raises(RuntimeError, match="killed"):
        run("quick", 0, tmp_path, device="cpu", config=SMALL)
    early = {p.name: p.read_bytes() for p in (tmp_path / "records").glob("*.json")}
    assert len(early) == 6
    monkeypatch.setattr(text, "_attack", real)
    rows = run("quick", 0, tmp_path, device="cpu", config=SMALL)
    assert [row["defense"] for row in rows] == ["none"] * 6 + ["gaussian:level=3"] * 6
    assert {name: (tmp_path / "records" / name).read_bytes() for name in early} == early


def test_the_paper_scale_without_a_corpus_says_why(tmp_path):
    (row,) = run("paper", 0, tmp_path)
    assert "--text-root was not given" in row["skipped"]
    (row,) = run("paper", 0, tmp_path, text_root=tmp_path / "nothing")
    assert "train.en is not there" in row["skipped"]
    assert (PAPER.width, PAPER.heads, PAPER.layers) == (512, 8, 3)


def test_a_corpus_is_attacked_too(tmp_path):
    pairs = grammar_splits(train=300, auxiliary=1, validation=1, victims=1).train
    for place, name in enumerate(("en", "de")):
        lines = "\n".join(" ".join(pair[place]) for pair in pairs)
        (tmp_path / f"train.{name}").write_text(lines)
    config = SMALL.model_copy(update={"defenses": ("none",)})
    rows = run("paper", 0, tmp_path / "out", text_root=tmp_path, device="cpu", config=config)
    assert len(rows) == 6
    assert all(row["n"] == 18 for row in rows)
