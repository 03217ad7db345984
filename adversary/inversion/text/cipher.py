"""A stronger query-free attack on text: the capture itself is a cipher, and the cipher is broken.

Ours, as an answer to appendix A.1 of Liu and Xiong 2024 ("Ensembler"), whose shadow fails by
construction. Both sides of the wire's feature are read at once: source and target sentence are each
other's translation, so that a word is known also by what it is translated to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from adversary.contract.attack import Attack, FittedOn
from adversary.contract.threat import ThreatModel
from adversary.contract.workplace import ALONE, Estimator, Workplace
from adversary.inversion.text.substitution import Decipher, decipher
from adversary.inversion.text.symbols import Symbols, find_symbols
from adversary.inversion.text.words import likeliest
from splitlab.contracts import Estimate, Features, Kind
from splitlab.contracts.kinds import TOKENS
from splitlab.data.text.tokens import Sentences
from splitlab.errors import BadInput, Unavailable
from splitlab.models.seq2seq import Seq2SeqSpec, positions
from splitlab.training import choose_device
from splitlab.training.translator import fed

LARGEST = 12_000
"""Words of the languages that are read, together; memory grows with the square, time with the
cube."""


class Cipher(Attack, Decipher):
    """Reads by the statistics of the adversary's own sentences alone; no body, no query.

    Where noise hides which words are equal it answers with its floor, and says so.

    Args:
        both: read the target, too.
        reach, smoothing, steps, hottest: see `Decipher`.
    """

    name: ClassVar[str] = "cipher"
    source: ClassVar[str] = "the lab's own; Ravi and Knight 2011, Deciphering Foreign Language"
    estimates: ClassVar[Kind] = TOKENS
    fitted_on: ClassVar[FittedOn] = "nothing"
    asks: ClassVar[Mapping[str, frozenset[str]]] = {
        "undefended": frozenset(),
        "unaware": frozenset(),
    }

    both: bool = True

    def fit(self, threat: ThreatModel, rng: torch.Generator, work: Workplace = ALONE) -> Estimator:
        """
        Raises:
            Unavailable: there are more words than can be deciphered at once.
        """
        del rng
        arch, granted = (threat.need(field, self.name) for field in ("arch", "sentences"))
        spec, own = Seq2SeqSpec(**arch.arguments), granted.sentences
        total = spec.source_words + (spec.target_words if self.both else 0)
        if total > LARGEST:
            raise Unavailable(
                f"{total} words are too many, at most {LARGEST} are deciphered at once"
            )
        device = choose_device(work.device)

        def estimate(seen: Features) -> Estimate:
            try:
                read = read_cipher(spec, own, seen.features, self, both=self.both, device=device)
            except BadInput as hidden:
                floor = likeliest(own).expand(len(seen.ids), -1).contiguous()
                return Estimate(floor, doubts=[f"{hidden}; it answered the most frequent words"])
            words, symbols = read
            return Estimate(
                words, extra={"symbols": len(symbols.centres), "radius": symbols.radius}
            )

        return estimate


def read_cipher(
    spec: Seq2SeqSpec,
    own: Sentences,
    features: Tensor,
    settings: Decipher,
    *,
    both: bool = True,
    device: torch.device | str = "cpu",
) -> tuple[Tensor, Symbols]:
    """Words of captured sentences, int64 [n, source_length], and the vectors told apart for it.

    Args:
        own: the adversary's sentences.
        features: z^ [n, source_length + target_length, width].
        both: read the target, too.

    Raises:
        BadInput: noise hides which vectors are equal.
    """
    length, places = spec.source_length, positions(spec)
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
    return read, source
