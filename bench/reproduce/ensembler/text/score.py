"""How much of the victims' text was read, and what the translation was worth and cost."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bench.reproduce.ensembler.text.wire import WIRE, Translated
from splitlab.data.text.vocabulary import PAD, SPECIAL
from splitlab.metrics import mean_interval

COMMON = 10
"""Most frequent words: articles and their like, which say little and are guessed easily."""


def common_words(text: Tensor) -> Tensor:
    """The most frequent words of int64 [N, T]: int64 [at most COMMON]."""
    words, counts = text[text >= len(SPECIAL)].unique(return_counts=True)
    return words[counts.argsort(descending=True)[:COMMON]]


def recovery(read: Tensor, truth: Tensor, common: Tensor) -> dict[str, Any]:
    """Share of a sentence's words that were read, in %, with its interval over sentences.

    Args:
        read, truth: int64 [n, T]; only places with a word of the vocabulary count.
        common: words that the share `rarer_words`, over all sentences together, leaves out.
    """
    words, same = truth >= len(SPECIAL), read == truth
    kept = words.any(1)
    right = (same & words)[kept].sum(1) / words[kept].sum(1)
    mean, low, high = mean_interval(100.0 * right.double(), torch.arange(len(right)))
    rarer = words & ~torch.isin(truth, common)
    return {
        "recovery": mean,
        "low": low,
        "high": high,
        "rarer_words": 100.0 * float(same[rarer].double().mean()) if rarer.any() else None,
        "whole_sentences": 100.0 * float((right == 1).double().mean()),
        "n": len(right),
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
