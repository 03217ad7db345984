"""Appendix A.1 of Ensembler (Liu and Xiong 2024), Table 4: text under the query-free adversary.

A translator with private embeddings, served and tapped; the paper's attack as written, a stronger
one within the same rules, and a ceiling. The paper prints sentences and no numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from bench.point.setup import Place, Scale, Setup
from bench.point.sights.translated import TRANSLATOR, TRANSLATOR_CUT
from bench.reproduce.ensembler.setup import SOURCE
from bench.reproduce.frame.columns import Fact, FactColumn, Here, number_at
from bench.reproduce.frame.experiment import Claim, Experiment, ExtraTable, Line, Measurement
from bench.reproduce.frame.found import Found, records_in
from bench.reproduce.frame.request import ExperimentRequest
from bench.reproduce.frame.run import Framed
from splitlab.contracts.quantity import Digits
from splitlab.training import TrainRecipe
from splitlab.training.translator import TranslatorRecipe

NAME = "ensembler-text"
NOTES = (
    "Sentences stand where other experiments have images. The accuracy is of words that are "
    "translated as the reference has them.",
    "What the shadow's decoder reads of its own is of sentences that the adversary held out. "
    "The ceiling sends queries, which the threat model forbids.",
)
PLACES = (Place("none"), Place("gaussian", "gaussian:level=0.3"))
DIGITS = Digits(table=1, brief=1, means=1)


def setup_of(dataset: str, translator: TranslatorRecipe, **sizes: int) -> Setup:
    """A translator at its one cut; a corpus has sizes of its own. All its sentences are granted."""
    return Setup(
        model=TRANSLATOR,
        arguments=translator.model_dump(mode="json"),
        dataset=dataset,
        head_end=TRANSLATOR_CUT[0],
        tail_start=TRANSLATOR_CUT[1],
        recipe=TrainRecipe(),
        queries=10_000_000,
        **sizes,
    )


QUICK = {"train": 5000, "auxiliary": 4000, "validation": 300, "victims": 400}
TUTORIAL = TranslatorRecipe(  # on translation, which the paper took
    **{"source_length": 40, "target_length": 40, "width": 512, "heads": 8, "layers": 3},
    **{"feedforward": 512, "epochs": 18, "batch_size": 128, "learning_rate": 5e-4},
)
SETUPS: Mapping[Scale, Setup] = {
    "quick": setup_of("grammar", TranslatorRecipe(), **QUICK),
    "paper": setup_of("corpus", TUTORIAL),
}
OPTIONS: Mapping[Scale, Mapping[str, Mapping[str, Any]]] = {
    "quick": {},
    "paper": {
        "text-shadow": {"epochs": 18, "batch_size": 128, "learning_rate": 2e-3, "hidden": 512},
        "word-decoder": {"batch_size": 128, "hidden": 512},
    },
}
"""Of each attack, where its defaults do not serve."""
ATTACKS: tuple[tuple[str, str, str, Mapping[str, Any], frozenset[str]], ...] = (
    ("shadow", "shadow", "text-shadow", {}, frozenset({"bodies"})),
    ("alone", "cipher, source alone", "cipher", {"both": False}, frozenset()),
    ("both", "cipher, source and target", "cipher", {}, frozenset()),
    ("ceiling", "ceiling: decoder with queries", "word-decoder", {}, frozenset({"observe"})),
)
"""Key, label, name, what sets this row apart, and what it knows."""


def of_floor(here: Here) -> float | None:
    """How many times as much is read as the floor reads."""
    read, floor = (number_at(here.record, f"{of}.words_read.mean") for of in ("leakage", "floor"))
    return None if read is None or not floor else read / floor


OWN = FactColumn(
    "own_words_read",
    "%",
    "rises",
    title="of its own",
    digits=DIGITS,
    fact=Fact("attack_facts.own_words_read"),
)
OF_FLOOR = FactColumn("of_floor", "1", "rises", title="times the floor", fact=Fact(of_floor))
ACCURACY = FactColumn(
    "accuracy", "%", "rises", title="translated", digits=DIGITS, fact=Fact("utility.accuracy")
)


def own_sentences(experiment: Experiment, found: Found) -> list[ExtraTable]:
    """What the first shadow makes of sentences of the adversary's own."""
    del experiment
    told = (one.attack_facts.get("own_sentences") for one in records_in(found))
    rows = next(filter(None, told), None)
    if rows is None:
        return []
    cells = tuple(tuple(map(str, row.values())) for row in rows)
    title = "The shadow, on sentences that the adversary held out"
    return [ExtraTable(title, tuple(rows[0]), cells)]


def declared(scale: Scale) -> Experiment:
    """The paper's attack, two ciphers and the ceiling, without a defence and under noise."""
    return Experiment(
        name=NAME,
        title="Ensembler, Table 4 (text)",
        source=f"{SOURCE}, appendix A.1, Table 4",
        scale=scale,
        setup=SETUPS[scale],
        lines=tuple(line for place in PLACES for line in _lines(scale, place)),
        claims=tuple(claim for place in PLACES for claim in _claims(place)),
        notes=NOTES,
        columns=("words_read", "rarer_words_read", "sentences_read", OWN, OF_FLOOR, ACCURACY),
        tables=(own_sentences,),
    )


def _lines(scale: Scale, place: Place) -> Iterator[Line]:
    for key, label, attack, own, knows in ATTACKS:
        options = {**OPTIONS[scale].get(attack, {}), **own}
        made = Measurement(f"{place.name}/{key}", place, attack, options, knows)
        yield Line(place.name, label, (made,), best="words_read")


def _claims(place: Place) -> Iterator[Claim]:
    shadow = f"{place.name}/shadow"
    said = f"{place.name}: the paper's decoder reads"
    yield Claim(f"{said} the shadow's features", OWN.name, shadow, "at least", margin=90.0)
    yield Claim(f"{said} not half of the client's", "words_read", shadow, "at most", margin=50.0)
    for key, what in (("alone", "its source"), ("both", "both sides")):
        said = f"{place.name}: text cannot be read without queries, by a cipher of {what}"
        cipher = f"{place.name}/{key}"
        yield Claim(said, OF_FLOOR.name, cipher, "at most", margin=1.5)


class OfText(Framed):
    """The corpus is a folder of the user's; there are no images."""

    UNUSED = ("dataset", "data_root", "download", "lpips_weights", "weights")

    def experiment(self, request: ExperimentRequest) -> Experiment:
        found = super().experiment(request)
        if request.text_root is None:
            return found
        if found.setup.dataset != "corpus":
            request.refuse(f"{NAME} at {request.scale} scale", "text_root")
        setup = found.setup.model_copy(update={"dataset": f"corpus:{request.text_root}"})
        return replace(found, setup=setup)


text = OfText(declared)
