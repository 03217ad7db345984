"""A stronger query-free attack on text: the capture itself is a cipher, and the cipher is broken.

Ours, as an answer to appendix A.1 of Liu and Xiong 2024 ("Ensembler"), whose shadow fails by
construction. Both sides of the wire's feature are read at once: source and target sentence are each
other's translation, so that a word is known also by what it is translated to.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from adversary.contract.text_threat import Sentences, TextThreat
from adversary.inversion.text.substitution import Decipher, decipher
from adversary.inversion.text.symbols import find_symbols
from splitlab.errors import BadInput
from splitlab.models.seq2seq import positions
from splitlab.training.translator import fed

LARGEST = 12_000
"""Words of the languages that are read, together; memory grows with the square, time with the
cube."""


@dataclass(frozen=True, eq=False)
class Deciphered:
    """What was read.

    Args:
        words: int64 [n, source_length].
        symbols: how many different source vectors were told apart.
        radius: distance up to which two source vectors were taken for one word.
    """

    words: Tensor
    symbols: int
    radius: float


def read_cipher(
    threat: TextThreat,
    features: Tensor,
    settings: Decipher,
    *,
    both: bool = True,
    device: str = "cpu",
) -> Deciphered:
    """Words of captured sentences, from the auxiliary sentences' statistics; no body, no query.

    Args:
        features: z^ [n, source_length + target_length, width].
        both: read the target, too.

    Raises:
        MissingKnowledge: sizes or auxiliary sentences were not granted.
        BadInput: noise hides which vectors are equal, or there are too many words.
    """
    spec = threat.need("spec", "the cipher")
    own: Sentences = threat.need("auxiliary", "the cipher")
    length, places = spec.source_length, positions(spec)
    total = spec.source_words + (spec.target_words if both else 0)
    if total > LARGEST:
        raise BadInput(f"{total} words are too many, at most {LARGEST} are deciphered at once")
    source = find_symbols(features[:, :length], places[:length], spec.source_words)
    symbols, kinds = source.ids, len(source.centres)
    text, words = own.source, spec.source_words
    if both:
        target = find_symbols(features[:, length:], places[length:], spec.target_words)
        symbols = torch.cat([symbols, target.ids + kinds], dim=1)
        kinds += len(target.centres)
        sent = fed(own.source, own.target)[:, length:]
        text = torch.cat([text, sent + words], dim=1)
        words += spec.target_words
    key = decipher(symbols, kinds, text, words, settings, device)
    read = key[source.ids]
    # a source symbol that fell to a target word stands for none
    read = torch.where(read < spec.source_words, read, torch.zeros_like(read))
    return Deciphered(read, len(source.centres), source.radius)
