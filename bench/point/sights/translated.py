"""Sentences over the wire: what a client sends that has them translated and keeps the embeddings.

The translator is trained once for all that want the same, the sentences are sent once for all
attacks on one deployment.
"""

from __future__ import annotations

import shutil
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

import defenses
from adversary.contract.threat import AuxSentences, Observed, ThreatModel
from bench.point.identity.config import PointConfig
from bench.point.lab import Lab
from bench.point.setup import Setup
from bench.point.sights.base import Facts, Truth, Wanted
from bench.point.sights.translating import (
    TextHalves,
    Translation,
    answers,
    last_features,
    translate,
)
from bench.point.victim import learns
from splitlab.capture import Capture
from splitlab.contracts import ArchSpec, Features, Seen
from splitlab.data import PARTITIONS
from splitlab.data.text.sentence_splits import SentenceSplits
from splitlab.data.text.sentences import load_sentences
from splitlab.data.text.tokens import Sentences
from splitlab.data.text.vocabulary import PAD, SPECIAL
from splitlab.errors import BadInput
from splitlab.models.seq2seq import Seq2Seq
from splitlab.storage import (
    canonical_json,
    lock,
    read_json,
    read_tensors,
    sha256,
    write_json,
    write_tensors,
)
from splitlab.training.translator import TranslatorRecipe, fed, train_translator
from splitlab.wire.request_ids import new_request_id

TRANSLATOR = "seq2seq"
TRANSLATOR_CUT = ("embeddings", "projection")
"""Where the head ends and the tail starts; there is no other cut."""
SHOWN = 6
"""Sentences in a record's picture."""
COMMON = 10
"""Most frequent words: articles and their like, which say little and are guessed easily."""


class Translated:
    """One deployment's sentences, and what was translated of them."""

    LEAST_CLASSES = 1
    SHOWS: tuple[type[Seen], ...] = (Features,)
    TELLS = frozenset[str]()
    SENT = 0
    CUTS = False

    def __init__(self, config: PointConfig, lab: Lab) -> None:
        self._config, self._lab = config, lab
        self._data = sentences_of(config, lab.shown(config))
        self._recipe = recipe_of(config.arguments)
        self._victims = self._encoded("victims").worded
        stack = defenses.parse(config.defense)
        if learns(config, stack):
            raise BadInput(f"{stack.spec} learns with the network; a translator is trained alone")
        secret = lab.secret.derive("text", stack.spec)
        net = translator_of(config, lab)
        protectors = stack.protectors(net.spec.feature_shape, secret)
        self._halves = TextHalves(net, protectors, secret, config.wire)

    @staticmethod
    def splits(setup: Setup, seed: int, *, root: Path | None, download: bool) -> SentenceSplits:
        del root, download
        sizes = {name: getattr(setup, name) for name in PARTITIONS}
        return load_sentences(setup.dataset, sizes, seed=seed)

    @staticmethod
    def check(setup: Setup, wanted: Wanted) -> None:
        if setup.model != TRANSLATOR:
            raise BadInput(f"{setup.model} translates no sentences; what does is {TRANSLATOR}")
        recipe_of(setup.arguments)
        for end, start in set(wanted) - {TRANSLATOR_CUT}:
            told = " and ".join(TRANSLATOR_CUT)
            raise BadInput(f"a translator is cut at {told}, not at {end} and {start}")

    @staticmethod
    def given(setup: Setup, classes: int, weights: Path) -> str:
        del setup, classes
        raise BadInput(f"--weights {weights}: a translator is trained here; leave it out")

    @classmethod
    def prepare(cls, config: PointConfig, lab: Lab) -> None:
        _ = Translated(config, lab).sent

    def threat(self) -> ThreatModel:
        config, grant, halves = self._config, self._config.grant, self._halves
        own, held_out, chosen = self._auxiliary, None, None
        if grant.validation:
            held_out = self._encoded("validation").first(grant.validation)
        if grant.observe:
            asked = own.first(grant.observe)
            chosen = Observed(asked, answers(halves, fed(asked.source, asked.target)))
        return ThreatModel(
            name=config.knowledge,
            feature=halves.feature,
            input=halves.input,
            wire=config.wire,
            arch=ArchSpec(
                name=TRANSLATOR,
                arguments=halves.net.spec.model_dump(mode="json"),
                input=halves.input,
            ),
            head_end=config.split,
            tail_start=config.tail_start,
            bodies=nn.ModuleList([halves.net.body]) if grant.bodies else None,
            defense=config.defense if grant.defense else None,
            sentences=AuxSentences(own, held_out, self._data.english, self._data.german)
            if grant.auxiliary
            else None,
            observe=chosen,
        )

    def rng(self) -> torch.Generator:
        return self.stream(self._config, self._config.attack)

    @staticmethod
    def stream(config: PointConfig, attack: str) -> torch.Generator:
        del attack  # all of them draw from the seed itself
        return torch.Generator().manual_seed(config.seed)

    def seen(self) -> tuple[Seen, ...]:
        return (self._seen,)

    def truth(self) -> Truth:
        own = self._auxiliary
        context = {"special": len(SPECIAL), "common": common_words(own.source)}
        groups = torch.arange(len(self._victims))
        return Truth(self._victims, groups, self.sent.join, own, context)

    def facts(self) -> Facts:
        """Words and whole sentences that are as the reference has them, in %; bytes a sentence."""
        sent, wanted = self.sent, self._victims.target
        placed, same = wanted != PAD, sent.target == wanted
        return Facts(
            {"name": TRANSLATOR_CUT[0], "index": 0, "shape": list(self._halves.feature.shape)},
            {
                "accuracy": 100.0 * float(same[placed].double().mean()),
                "accuracy_sentences": 100.0 * float((same | ~placed).all(1).double().mean()),
            },
            {
                "payload_up": sent.payload_up / len(wanted),
                "payload_down": sent.payload_down / len(wanted),
                "messages": float(sent.messages),
            },
        )

    def shown(self, folder: Path, point: str, truth: Tensor, values: Tensor) -> tuple[Any, ...]:
        """What was sent, came back and was read, of the same sentences for every attack."""
        del folder, point
        english, german = self._data.english, self._data.german
        victims = [self.sent.join[name] for name in self._seen.ids]
        rows = sorted(range(len(victims)), key=victims.__getitem__)[:SHOWN]
        sent = [
            (english.decode(truth[row]), german.decode(self.sent.target[victims[row]]))
            for row in rows
        ]
        return sent, [english.decode(values[row]) for row in rows]

    @cached_property
    def _seen(self) -> Features:
        """Of the first victims, where not all are attacked: the same ones in every deployment."""
        join, limit = self.sent.join, self._config.attacked or len(self._victims)
        ids, features = last_features(Capture.open(self._captured))
        rows = [row for row, name in enumerate(ids) if join[name] < limit]
        return Features(tuple(ids[row] for row in rows), features[rows])

    @cached_property
    def sent(self) -> Translation:
        """What the client got; the capture lies beside it."""
        folder = self._captured.parent
        kept, tensors = folder / "translation.json", folder / "translation.safetensors"
        with lock(folder):
            if not kept.exists():
                shutil.rmtree(folder, ignore_errors=True)  # what a kill left
                secret = None if self._lab.sources.secret_seed is None else self._halves.secret
                made = translate(
                    self._halves, self._victims.source, self._captured, new_request_id(secret)
                )
                told = vars(made).copy()
                write_tensors(tensors, {"target": told.pop("target")})
                write_json(kept, told, private=True)
            told = read_json(kept, f"remove {folder} to send again")
        return Translation(read_tensors(tensors)["target"], **told)

    @property
    def _captured(self) -> Path:
        """The capture, by all that determines it."""
        config = self._config
        what = [self._halves.digest, self._data.hash, config.defense, config.wire, config.victims]
        key = sha256(canonical_json(what))[:12]
        return self._lab.crossed(config) / f"sent-{key}" / "capture"

    @cached_property
    def _auxiliary(self) -> Sentences:
        """The adversary's; all there are for the floor of one who has none."""
        return self._encoded("auxiliary").first(self._config.grant.auxiliary or None)

    def _encoded(self, part: str) -> Sentences:
        return self._data.encoded(part, self._recipe.source_length, self._recipe.target_length)


def common_words(text: Tensor) -> Tensor:
    """The most frequent words of int64 [N, T]: int64 [at most COMMON]."""
    words, counts = text[text >= len(SPECIAL)].unique(return_counts=True)
    return words[counts.argsort(descending=True)[:COMMON]]


def sentences_of(config: PointConfig, found: Any) -> SentenceSplits:
    """The data of a point.

    Raises:
        BadInput: they are no sentences.
    """
    if not isinstance(found, SentenceSplits):
        raise BadInput(f"{config.dataset_kind} holds no sentences; wanted grammar or a corpus")
    return found


def recipe_of(arguments: dict[str, Any]) -> TranslatorRecipe:
    """
    Raises:
        BadInput: a setting that a translator has not, or sizes that do not fit together.
    """
    try:
        recipe = TranslatorRecipe(**arguments)
        recipe.spec(len(SPECIAL), len(SPECIAL))
    except ValidationError as error:
        raise BadInput(f"{TRANSLATOR}: {error.errors()[0]['msg']}") from error
    return recipe


def translator_of(config: PointConfig, lab: Lab) -> Seq2Seq:
    """One trained on the point's sentences, once for all that want the same; in eval mode."""
    data, recipe = sentences_of(config, lab.data(config)), recipe_of(config.arguments)
    net = Seq2Seq(recipe.spec(len(data.english), len(data.german)), config.seed)
    what = {"text": data.hash, "recipe": recipe.model_dump(mode="json"), "seed": config.seed}
    words = f"translator on {config.dataset_kind}, seed {config.seed}"
    with lab.cache.making("translators", what, words) as folder:
        kept = folder / "translator.safetensors"
        if kept.exists():
            net.load_state_dict(read_tensors(kept, f"remove {kept} to train again"))
        else:
            own = data.encoded("train", recipe.source_length, recipe.target_length)
            train_translator(
                net.head,
                net.body,
                net.tail,
                own.source,
                own.target,
                **recipe.learning,
                seed=config.seed,
                device=lab.sources.device,
                checkpoint=folder / "translator.pt",
                progress=lab.progress,
            )
            write_tensors(kept, net.cpu().state_dict())
    return net.cpu().eval().requires_grad_(False)
