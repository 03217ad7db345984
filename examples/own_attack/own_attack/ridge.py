"""Ridge regression (Hoerl and Kennard 1970) from features to images: the best linear decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from adversary.contract.attack import Attack, Preset, seed_of
from adversary.contract.threat import ThreatModel
from adversary.contract.workplace import ALONE, Estimator, Workplace
from adversary.parts.pairs import gather
from splitlab.contracts import Estimate, Features
from splitlab.training import choose_device

PENALTIES = (1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Tried where none is given, in units of a feature's mean squared length."""


class LinearDecoder(NamedTuple):
    """z -> (z - centre) known^T weights + mean; `error` is the squared one on held-out pairs."""

    centre: Tensor
    known: Tensor
    weights: Tensor
    mean: Tensor
    penalty: float
    error: float

    def __call__(self, features: Tensor) -> Tensor:
        """Features [B, ...] -> images [B, 3, S, S] in [0, 1]."""
        rows = (features.flatten(1) - self.centre) @ self.known.T @ self.weights
        return (rows.view(-1, *self.mean.shape) + self.mean).clamp(0, 1)


def fit_ridge(features: Tensor, images: Tensor, penalties: Sequence[float]) -> LinearDecoder:
    """The linear map of least squared pixel error plus penalty, in closed form.

    It is written with one weight a pair (the dual form): features have more numbers than there are
    pairs. A tenth of the pairs chooses the penalty and takes no other part.

    Args:
        features: float [n, ...], n at least 2.
        images: float [n, 3, S, S] in [0, 1], of these features.
        penalties: to choose from, above 0.
    """
    held = max(1, len(features) // 10)
    centre, mean = features[held:].flatten(1).mean(0), images[held:].mean(0)
    known = features[held:].flatten(1) - centre
    targets = (images[held:] - mean).flatten(1).double()
    gram = (known @ known.T).double()
    values, vectors = torch.linalg.eigh(gram)
    turned, unit = vectors.T @ targets, gram.diagonal().mean().clamp_min(1e-12)
    found = []
    for penalty in penalties:
        solved = vectors @ (turned / (values.clamp_min(0) + penalty * unit)[:, None])
        made = LinearDecoder(centre, known, solved.to(images), mean, penalty, 0.0)
        error = (made(features[:held]) - images[:held]).square().mean()
        found.append(made._replace(error=float(error)))
    return min(found, key=lambda one: one.error)


class Ridge(Attack):
    """A linear decoder of queries, or of the adversary's own images through the granted head.

    Args:
        pairs: at most so many are learned from; time grows with their third power.
        penalty: of the weights, in units of a feature's mean squared length; None to choose.
    """

    name: ClassVar[str] = "ridge"
    source: ClassVar[str] = "Hoerl and Kennard 1970, Technometrics 12(1)"
    asks: ClassVar[Mapping[str, frozenset[str]]] = {
        "undefended": frozenset({"observe"}),
        "adaptive": frozenset({"observe"}),
        "unaware": frozenset({"head"}),
    }
    presets: ClassVar[Mapping[str, Preset]] = {
        "least-squares": Preset({"penalty": 1e-9}, "no penalty but rounding's")
    }

    pairs: Annotated[int, Field(ge=2, le=10_000)] = 1_000
    penalty: Annotated[float, Field(gt=0, le=1e6)] | None = None

    def fit(self, threat: ThreatModel, rng: torch.Generator, work: Workplace = ALONE) -> Estimator:
        place = choose_device(work.device)
        own = gather(threat, place, f"attack {self.name!r}").first(self.pairs)
        images, features = own.some(torch.Generator().manual_seed(seed_of(rng)))
        tried = PENALTIES if self.penalty is None else (self.penalty,)
        decoder = fit_ridge(features, images, tried)
        facts = {"learned_from": own.how, "penalty": decoder.penalty, "held_out_mse": decoder.error}

        def reconstruct(seen: Features) -> Estimate:
            return Estimate(decoder(seen.features.to(place)).cpu(), [], dict(facts))

        return reconstruct
