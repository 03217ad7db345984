"""Text under the query-free adversary (Liu and Xiong 2024, "Ensembler", appendix A.1, Table 4).

A translator with private embeddings, served and tapped; the paper's attack as written, a stronger
one within the same rules, floor and ceiling; the paper's five columns for a few sentences.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adversary.contract.text_threat import Sentences, TextThreat, last_features
from adversary.inversion.text.cipher import read_cipher
from adversary.inversion.text.shadow import (
    FittedTextShadow,
    features_of,
    fit_decoder,
    fit_shadow,
    read_words,
)
from bench.reproduce.ensembler.text.config import PAPER, QUICK, Scale, TextConfig
from bench.reproduce.ensembler.text.records import finish, finished, write_record
from bench.reproduce.ensembler.text.score import common_words, recovery, utility
from bench.reproduce.ensembler.text.table import write_table
from bench.reproduce.ensembler.text.wire import TextHalves, Translated, greedy, translate
from defenses import parse
from splitlab.capture import Capture
from splitlab.contracts.kinds import TOKENS
from splitlab.data.text.sentences import Pair, SentenceSplits, corpus_splits, grammar_splits
from splitlab.data.text.vocabulary import PAD
from splitlab.errors import BadInput, SplitLabError, Unavailable
from splitlab.models.seq2seq import Seq2Seq, Seq2SeqSpec
from splitlab.randomness import KeyedDraw, Secret
from splitlab.storage import require_writable
from splitlab.training import Progress
from splitlab.training.translator import fed, train_translator
from splitlab.wire.codec import roundtrip
from splitlab.wire.request_ids import new_request_id

EXAMPLES = 6
ROWS = 256


@dataclass(frozen=True, eq=False)
class _World:
    """What is the same for every defence."""

    config: TextConfig
    splits: SentenceSplits
    net: Seq2Seq
    threat: TextThreat
    shadow: FittedTextShadow
    victims: Sentences
    seed: int
    device: str


def run(
    scale: Scale,
    seed: int,
    out: Path,
    *,
    text_root: Path | None = None,
    device: str = "auto",
    secret_seed: int | None = None,
    config: TextConfig | None = None,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Train, serve, capture, attack; write `out/records/*.json` and `out/text.md`.

    A finished run is read back; an unfinished one continues from its checkpoints.

    Args:
        scale: "quick" is the lab's own grammar, minutes on two cores; "paper" the tutorial's sizes
            on a parallel corpus.
        text_root: folder with train.en and train.de, for "paper" (Multi30k, for instance).
        secret_seed: for reproduction only.
        config: in place of the scale's own.

    Returns:
        One row for every defence and attack; a single row with "skipped" where the scale's text
        is not there.

    Raises:
        BadInput: `out` holds another run, or a corpus that does not fit together.
    """
    require_writable(out)
    config = config or (QUICK if scale == "quick" else PAPER)
    try:
        splits = _splits(scale, config, seed, text_root)
    except Unavailable as missing:
        return [{"scale": scale, "seed": seed, "skipped": str(missing)}]
    about = {"scale": scale, "seed": seed, "data": splits.hash, **config.model_dump(mode="json")}
    if (done := finished(out, about)) is not None:
        return done[0]
    world = _prepare(config, splits, seed, device, out / "checkpoints", progress)
    rows, examples = [], []
    for number, text in enumerate(config.defenses):
        part = out / "defenses" / f"{seed}-{number}"
        stands = finished(part, {**about, "defense": text})
        if stands is None:
            secret = Secret.new(secret_seed).derive("text", seed, number)
            place = out / "captures" / f"{seed}-{number}"
            request_id = new_request_id(None if secret_seed is None else secret)
            made, shown = _attack(world, text, secret, place, request_id)
            made = [{"scale": scale, "seed": seed, "defense": text, **row} for row in made]
            for row in made:
                write_record(row, config, splits, out)
            finish(part, {**about, "defense": text}, made, shown)
            stands = made, shown
        rows += stands[0]
        examples += stands[1] if number == 0 else []
    write_table(out / "text.md", rows, examples)
    finish(out, about, rows, examples)
    return rows


def _splits(scale: Scale, config: TextConfig, seed: int, root: Path | None) -> SentenceSplits:
    if scale == "quick":
        return grammar_splits(
            train=config.train,
            auxiliary=config.auxiliary,
            validation=config.validation,
            victims=config.victims,
            seed=seed,
        )
    if root is None:
        raise Unavailable("--text-root was not given: a folder with train.en and train.de")
    return corpus_splits(root, seed=seed)


def _prepare(
    config: TextConfig,
    splits: SentenceSplits,
    seed: int,
    device: str,
    folder: Path,
    progress: Progress | None,
) -> _World:
    """The trained translator, and the adversary's shadow of it, which no defence changes."""
    spec = Seq2SeqSpec(
        source_words=len(splits.english),
        target_words=len(splits.german),
        **config.model_dump(
            include={"source_length", "target_length", "width", "heads", "layers", "feedforward"}
        ),
    )

    def tokens(pairs: tuple[Pair, ...]) -> Sentences:
        return Sentences(
            splits.english.encode([pair.english for pair in pairs], spec.source_length),
            splits.german.encode([pair.german for pair in pairs], spec.target_length),
        )

    net, own = Seq2Seq(spec, seed), tokens(splits.train)
    train_translator(
        net.head,
        net.body,
        net.tail,
        own.source,
        own.target,
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        seed=seed,
        device=device,
        checkpoint=folder / f"victim-{seed}.pt",
        progress=progress,
    )
    net = net.cpu().eval().requires_grad_(False)
    threat = TextThreat(spec, net.body, tokens(splits.auxiliary))
    # the adversary's seed is its own: with the victim's, its first weights would be the victim's
    shadow = fit_shadow(
        threat,
        config.shadow,
        seed=seed + 1,
        device=device,
        checkpoint=folder / f"shadow-{seed}.pt",
        progress=progress,
    )
    return _World(config, splits, net, threat, shadow, tokens(splits.victims), seed, device)


def _attack(
    world: _World, defense: str, secret: Secret, place: Path, request_id: str
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Serve the victims under one defence, attack what was captured, score it."""
    stack, spec = parse(defense), world.net.spec
    protectors = stack.protectors(spec.feature_shape, secret)
    halves = TextHalves(world.net, protectors, secret, world.config.wire)
    shutil.rmtree(place, ignore_errors=True)  # of an earlier run
    sent = translate(halves, world.victims.source, place, request_id)
    ids, features = last_features(Capture.open(place))
    row_of = {name: row for row, name in enumerate(ids)}
    join = torch.tensor([row_of[name] for name in sent.ids])
    source = features[:, : spec.source_length]
    cost = utility(sent, world.victims.target)
    common = common_words(_auxiliary(world).source)
    answer = TOKENS.floor_of(_auxiliary(world))
    before = world.threat.fingerprint()

    def scored(attack: str, words: Tensor, threat: list[str], **more: Any) -> dict[str, Any]:
        rate = recovery(words, world.victims.source, answer, common)
        return {"attack": attack, "granted": threat, **rate, **more, **cost}

    shadow, own = world.shadow, world.threat.granted
    on_shadow = read_words(shadow.decoder, features_of(shadow.net.head, world.victims))
    on_client = read_words(shadow.decoder, source)[join]
    floor = answer.expand_as(on_client)
    rows = [
        scored("floor", floor, ["auxiliary"]),
        scored("shadow, on shadow features", on_shadow, own, losses=shadow.losses),
        scored("shadow, on client features", on_client, own, losses=shadow.losses),
        *(_cipher_row(world, features, join, both, scored) for both in (False, True)),
        scored("ceiling: decoder with queries", _ceiling(world, halves, source)[join], ["observe"]),
    ]
    if world.threat.fingerprint() != before:
        raise SplitLabError("an attack changed the body that it was granted; its result is void")
    least = rows[0]["recovery"]
    for row in rows[1:]:
        if "skipped" not in row and TOKENS.headline.failed(row["recovery"], least):
            row["doubts"] = ["no better than the most frequent word: the attack failed"]
    return rows, _examples(world, sent, on_shadow, on_client)


def _cipher_row(
    world: _World, features: Tensor, join: Tensor, both: bool, scored: Any
) -> dict[str, Any]:
    name = "cipher, source and target" if both else "cipher, source alone"
    granted = ["auxiliary", "spec"]
    try:
        read = read_cipher(
            world.threat, features, world.config.decipher, both=both, device=_place(world.device)
        )
    except BadInput as error:
        return {"attack": name, "granted": granted, "skipped": str(error)}
    facts = {"symbols": read.symbols, "radius": read.radius}
    found: dict[str, Any] = scored(name, read.words[join], granted, **facts)
    return found


def _place(device: str) -> str:
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"


def _auxiliary(world: _World) -> Sentences:
    found: Sentences = world.threat.need("auxiliary")
    return found


def _ceiling(world: _World, halves: TextHalves, captured: Tensor) -> Tensor:
    """A decoder trained on the client's answers to chosen sentences: outside the threat model."""
    own, spec = _auxiliary(world), world.net.spec
    threat = TextThreat(spec, observe=(own.source, _answers(halves, own)))
    source, features = threat.need("observe", "the ceiling")
    settings = world.config.shadow
    decoder = fit_decoder(features, source, spec, settings, seed=world.seed, device=world.device)
    return read_words(decoder, captured)


@torch.inference_mode()
def _answers(halves: TextHalves, chosen: Sentences) -> Tensor:
    """The source's features [N, source_length, width], protected and through the codec."""
    tokens, length = fed(chosen.source, chosen.target), chosen.source.shape[1]
    parts = []
    for first, part in zip(range(0, len(tokens), ROWS), tokens.split(ROWS), strict=True):
        draw = KeyedDraw(halves.secret.derive("queries"), "queries", first)
        parts.append(roundtrip(halves.protect(halves.head(part), draw), halves.wire)[:, :length])
    return torch.cat(parts)


def _examples(
    world: _World, sent: Translated, on_shadow: Tensor, on_client: Tensor
) -> list[dict[str, str]]:
    """The paper's five columns for the first few victims."""
    some, (english, german) = slice(0, EXAMPLES), (world.splits.english, world.splits.german)
    truth = world.victims.source[some]
    with torch.inference_mode():
        blank = torch.full_like(world.victims.target[some], PAD)
        shadowed = greedy(world.shadow.net, truth, blank)
    return [
        {
            "ground truth": english.decode(truth[row]),
            "standard translation": german.decode(sent.target[row]),
            "shadow translation": german.decode(shadowed[row]),
            "decoder on shadow": english.decode(on_shadow[row]),
            "decoder on client": english.decode(on_client[row]),
        }
        for row in range(len(truth))
    ]
