"""The declaration of `ensembler-text`: its verdicts, its table, and which options it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.table import Table
from whole_words import parted, printed

from bench.reproduce.ensembler.table1 import table1
from bench.reproduce.ensembler.text import declared, text
from bench.reproduce.frame.request import ExperimentRequest
from bench.reproduce.frame.summary import Summary, summarise
from bench.reproduce.frame.table import rich_parts
from splitlab.errors import BadInput
from splitlab.record import Leakage, Record


def told(mean: float) -> Leakage:
    return Leakage(unit="%", leakage="rises", mean=mean, low=mean, high=mean)


def record(place: str, key: str, read: float, **facts: Any) -> Record:
    return Record(
        hash="0" * 64,
        method_version=1,
        config={
            "measurement": f"{place}/{key}",
            "place": place,
            "defense": place,
            "attack": "cipher",
            "seed": 0,
        },
        data_hash="0" * 64,
        created="",
        split={"name": "embeddings", "index": 0},
        threat={},
        utility={"accuracy": 98.7},
        rate={"payload_up": 147456.0, "payload_down": 73728.0},
        leakage={
            "words_read": told(read),
            "rarer_words_read": told(read / 2),
            "sentences_read": told(read / 4),
        },
        floor={"words_read": told(24.7)},
        effort={},
        attack_facts=facts,
        estimates="tokens",
        environment={},
    )


SENTENCE = {
    "sentence": "the busy woman is holding a guitar on the street .",
    "shadow translation": "die fleißige Frau hält auf der Straße eine Gitarre .",
    "decoder on shadow": "the busy woman is holding a guitar on the street .",
}


def summary_of(shadow: float, own: float, alone: float, both: float) -> Summary:
    found = {}
    for place in ("none", "gaussian"):
        facts = {"own_words_read": own, "own_sentences": [SENTENCE]}
        found |= {
            f"{place}/shadow": record(place, "shadow", shadow, **facts),
            f"{place}/alone": record(place, "alone", alone),
            f"{place}/both": record(place, "both", both),
            f"{place}/ceiling": record(place, "ceiling", 99.3),
        }
    return summarise(declared("quick"), {0: found, 1: found})


def verdicts(*numbers: float) -> list[str]:
    """Of the undefended network, which are those of the defended one."""
    found = [one.verdict for one in summary_of(*numbers).judged]
    assert found[:4] == found[4:]
    return found[:4]


def test_the_papers_claims_are_judged_by_the_rows() -> None:
    yes, no = "holds", "does not hold"
    assert verdicts(27.3, 99.7, 79.3, 88.8) == [yes, yes, no, no]
    assert verdicts(60.0, 80.0, 30.0, 40.0) == [no, no, yes, no]


def test_its_tables_fit_a_terminal_and_tell_the_floor() -> None:
    tables = [
        part for part in rich_parts(summary_of(27.3, 99.7, 79.3, 88.8)) if isinstance(part, Table)
    ]
    assert len(tables) == 3
    for table in tables:
        assert parted(table) == []
        assert max(map(len, printed(table).splitlines())) <= 80
    first = printed(tables[0])
    for word in ("frequent", "position", "cipher,", "98.7", "24.7"):
        assert word in first


@pytest.mark.parametrize(
    ("given", "flag"),
    [
        ({"dataset": "cifar10"}, "--dataset"),
        ({"data_root": Path("data")}, "--data-root"),
        ({"download": True}, "--download"),
        ({"lpips_weights": Path("weights")}, "--lpips-weights"),
        ({"weights": Path("weights")}, "--weights"),
        ({"text_root": Path("text"), "scale": "quick"}, "--text-root"),
    ],
)
def test_options_for_images_are_refused(tmp_path: Path, given: dict[str, Any], flag: str) -> None:
    with pytest.raises(BadInput, match=f"{flag}: ensembler-text.* has no use for it"):
        text(ExperimentRequest(**{"out": tmp_path / "run", "scale": "paper", **given}))
    assert not (tmp_path / "run").exists()


def test_an_option_for_text_is_refused_by_the_others(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--text-root: ensembler-table1 has no use for it"):
        table1(ExperimentRequest(out=tmp_path / "run", text_root=tmp_path))
