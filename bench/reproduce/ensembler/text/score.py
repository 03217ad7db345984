"""How much of the victims' text was read, and what the translation was worth and cost."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bench.point.score import scored
from bench.reproduce.ensembler.text.wire import WIRE, Translated
from splitlab.contracts.kinds import TOKENS
from splitlab.data.text.vocabulary import PAD, SPECIAL
from splitlab.errors import SplitLabError
from splitlab.metrics.words import RARER_WORDS_READ, SENTENCES_READ, WORDS_READ

COMMON = 10
"""Most frequent words: articles and their like, which say little and are guessed easily."""


def common_words(text: Tensor) -> Tensor:
    """The most frequent words of int64 [N, T]: int64 [at most COMMON]."""
    words, counts = text[text >= len(SPECIAL)].unique(return_counts=True)
    return words[counts.argsort(descending=True)[:COMMON]]


def recovery(read: Tensor, truth: Tensor, floor: Tensor, common: Tensor) -> dict[str, Any]:
    """The kind's metrics as a row has them: shares in %, the first with its interval.

    Args:
        read, truth: int64 [n, T]; sentences without a word of the vocabulary are left out.
        floor: int64 [T], what is answered without having seen anything.
        common: words that the share `rarer_words`, over all sentences together, leaves out.

    Raises:
        SplitLabError: `read` is no answer of this kind.
    """
    if fault := TOKENS.check(read, len(truth), None):
        raise SplitLabError(f"an attack on text {fault}")
    special = len(SPECIAL)
    kept = (truth >= special).any(1)
    groups = torch.arange(int(kept.sum()))
    context = {"special": special, "common": common}
    found = scored(TOKENS, truth[kept], read[kept], floor, groups, context).leakage
    words = found[WORDS_READ.name]
    return {
        "recovery": words.mean,
        "low": words.low,
        "high": words.high,
        "rarer_words": found[RARER_WORDS_READ.name].mean,
        "whole_sentences": found[SENTENCES_READ.name].mean,
        "n": words.items,
    }


def utility(sent: Translated, wanted: Tensor) -> dict[str, Any]:
    """Words and whole sentences that are as the reference has them, in %; bytes a sentence.

    Args:
        wanted: int64 [n, target_length], the reference translation.
    """
    placed = wanted != PAD
    same = sent.target == wanted
    return {
        "accuracy_words": 100.0 * float(same[placed].double().mean()),
        "accuracy_sentences": 100.0 * float((same | ~placed).all(1).double().mean()),
        "payload_up": sent.payload_up / len(wanted),
        "payload_down": sent.payload_down / len(wanted),
        "messages": sent.messages,
        "wire": WIRE,
    }
