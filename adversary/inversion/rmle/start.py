"""Where `rmle` begins: at what another attack makes of the same features, under the same grant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from adversary.contract.attack import Attack
from adversary.contract.believed import believed
from adversary.contract.threat import ThreatModel
from adversary.contract.workplace import Estimator, Fits, Workplace
from adversary.inversion.dci.attack import DCI
from adversary.inversion.decoder import Decoder
from adversary.inversion.psim import PSiM
from adversary.inversion.rmle.matching import Spectra
from adversary.parts.budget import FULL_SIZE, answered_together
from adversary.parts.spectrum import learned_spectrum, natural_spectrum
from splitlab.contracts import Features, InputSpec
from splitlab.named import named_fields, typed_fields, written
from splitlab.pieces import in_pieces

STARTS: dict[str, type[Attack]] = {"decoder": Decoder, "psim": PSiM, "dci": DCI}
MEAN = "mean"
"""The mean colour: no other attack's image."""
LEAST = 2
"""Images that an inverse network can be learned from."""
ENOUGH, MOST = 16, 256
"""A spectrum is learned from so many images at least, and of up to `FULL_SIZE` at most."""


def start_attack(start: str) -> Attack | None:
    """The attack whose image it begins at; None for "mean".

    Args:
        start: a name of `STARTS`, also with settings: "dci:data=own,epochs=8".

    Raises:
        ValueError: no such start, or settings of "mean".
        BadInput: a setting that the attack does not have.
    """
    name, fields = named_fields(start)
    if name not in (*STARTS, MEAN):
        raise ValueError(f"wanted one of {', '.join((*STARTS, MEAN))}, or one with settings")
    if name == MEAN:
        if fields:
            raise ValueError("the mean colour has no settings; leave them out")
        return None
    kind = STARTS[name]
    return kind.configured(typed_fields(fields, kind.model_fields)) if fields else kind()


def start_written(start: str) -> str:
    """A start in the one way that a record has it: its given settings checked, in their order.

    Raises:
        ValueError, BadInput: as `start_attack`.
    """
    made = start_attack(start)
    name, fields = named_fields(start)
    told = {} if made is None else made.model_dump(mode="json")
    return written(name, {key: told.get(key, fields[key]) for key in sorted(fields)})


def start_of(wanted: str | None, threat: ThreatModel) -> str:
    """What is wanted, else "decoder" where it can learn from something, else "mean"."""
    if wanted is not None:
        return wanted
    asked = threat.observe.images if threat.observe is not None else ()
    own = threat.aux.images if threat.aux is not None else ()
    return "decoder" if len(asked or own) >= LEAST else MEAN


class Starter:
    """z^ [n, *feature_shape] -> images [n, 3, S, S] in [0, 1], as another attack makes them.

    Args:
        estimator: of the other attack, fitted.
    """

    def __init__(self, estimator: Estimator) -> None:
        self._estimator = estimator
        self.doubts: list[str] = []
        """Those of its last answer."""

    def __call__(self, features: Tensor) -> Tensor:
        ids = tuple(str(row) for row in range(len(features)))
        found = self._estimator(Features(ids, features.cpu()))
        self.doubts = list(found.doubts)
        return torch.as_tensor(found.values)


def starting(start: str, threat: ThreatModel, work: Workplace) -> Starter | None:
    """The attack that makes the start; None for "mean".

    It is fitted once for all that ask for it with the same settings (`Workplace.fitted`).

    Raises:
        MissingKnowledge: the other attack needs what is not granted.
    """
    attack = start_attack(start)
    if attack is None:
        return None
    known = work.grant or threat
    if known.observe is None and "head" not in attack.asks.get(known.name, {"head"}):
        # Its own row has queries and no head. Who has the head answers its queries itself.
        known = replace(known, name="")
    if work.grant is None:  # fitted without `run_attack`: there is nobody to share with
        work = replace(work, fits=Fits(), borrowed={})
    return Starter(replace(work, grant=known).fitted(attack))


def spectra_of(
    threat: ThreatModel,
    head: nn.Module,
    begin: Callable[[Tensor], Tensor] | None,
    place: torch.device,
    draw: torch.Generator,
) -> Spectra:
    """What images differ by from the mean colour, and from where another attack begins.

    Learned from validation images, of which the other attack has seen none, or else from what it
    has learned from; of natural images where there are too few of both, or synthetic ones alone,
    whose spectrum is that of their making.

    Args:
        begin: z^ [n, *feature_shape] -> images, as `starting` gives it; None for nothing.
        draw: of what is believed to spoil the features.
    """
    given = threat.input or InputSpec()
    own = threat.aux
    choices = (own.validation, own.images) if own is not None and own.kind != "synthetic" else ()
    images = next((kept for kept in choices if len(kept) >= ENOUGH), None)
    if images is None:
        natural = natural_spectrum(given.size)
        return Spectra(natural, natural if begin is not None else None)
    count = max(ENOUGH, min(MOST, MOST * FULL_SIZE**2 // given.size**2))
    pixels = images.take(count).floats(place)
    mean = torch.tensor(given.mean, device=place).view(-1, 1, 1)
    blank = learned_spectrum(pixels - mean)
    if begin is None:
        return Spectra(blank)
    with torch.no_grad():
        clean = in_pieces(head, pixels, answered_together(given.size))
        seen = believed(threat, tuple(clean.shape[1:]))(clean, draw)
    apart = pixels - begin(seen).to(place)
    sound = bool(apart.isfinite().all())  # of a start that diverged there is no spectrum
    return Spectra(blank, learned_spectrum(apart) if sound else natural_spectrum(given.size))
