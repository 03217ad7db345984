"""How much of a text was read: shares of words and of whole sentences, in %.

Sentences are numbers of words, int64 [B, T]. Places whose number is below the context's `special`
hold no word of the vocabulary (padding, beginning, end) and do not count.
"""

from __future__ import annotations

import torch
from torch import Tensor

from splitlab.contracts.metric import Context, Metric, Rows
from splitlab.contracts.quantity import Digits
from splitlab.errors import BadInput, Unavailable

PERCENT = Digits(table=1, brief=1, means=1)


def words_read(truth: Tensor, read: Tensor, special: int) -> Tensor:
    """Share of each sentence's words that were read at their place, in %: float64 [B].

    Raises:
        BadInput: shapes that differ, or a sentence without a word.
    """
    words = _words(truth, read, special)
    counts = words.sum(1)
    if not counts.all():
        raise BadInput("a sentence has no word that could be read; leave it out")
    return 100.0 * ((truth == read) & words).sum(1).div(counts).double()


def sentences_read(truth: Tensor, read: Tensor, special: int) -> Tensor:
    """100 for each sentence of which every word was read, else 0: float64 [B]."""
    return 100.0 * (words_read(truth, read, special) == 100.0).double()


def rarer_words(truth: Tensor, read: Tensor, special: int, common: Tensor) -> Rows:
    """Of each sentence: words read, and words there are, without the `common` ones; int64 [B]."""
    rarer = _words(truth, read, special) & ~torch.isin(truth, common)
    return ((truth == read) & rarer).sum(1), rarer.sum(1)


def share_read(rows: Rows) -> float:
    """Of all words of all sentences together, in %.

    Raises:
        Unavailable: there is no such word.
    """
    read, there = rows
    if not int(there.sum()):
        raise Unavailable("there is no word but the most common ones")
    return 100.0 * float(read.sum()) / float(there.sum())


def _words(truth: Tensor, read: Tensor, special: int) -> Tensor:
    if truth.shape != read.shape or truth.ndim != 2:
        raise BadInput(
            f"sentences of shape {tuple(truth.shape)} and {tuple(read.shape)} cannot be compared; "
            "give numbers of words of one shape [B, T]"
        )
    return truth >= special


def _special(context: Context) -> int:
    if "special" not in context:
        raise BadInput("words need `special`, how many numbers stand for no word")
    return int(context["special"])


WORDS_READ = Metric(
    "words_read",
    "%",
    "rises",
    title="words read",
    digits=PERCENT,
    margin=0.0,
    bounds=(0.0, 100.0),
    per_item=lambda truth, read, context: words_read(truth, read, _special(context)),
    needs=("special",),
)
RARER_WORDS_READ = Metric(
    "rarer_words_read",
    "%",
    "rises",
    title="rarer words read",
    digits=PERCENT,
    bounds=(0.0, 100.0),
    prepare=lambda truth, read, context: rarer_words(
        truth, read, _special(context), context["common"]
    ),
    per_set=share_read,
    needs=("special", "common"),
    resamples=500,
)
SENTENCES_READ = Metric(
    "sentences_read",
    "%",
    "rises",
    title="whole sentences read",
    digits=PERCENT,
    bounds=(0.0, 100.0),
    per_item=lambda truth, read, context: sentences_read(truth, read, _special(context)),
    needs=("special",),
)
