"""Noise tensors that were learned, and how one is had for every row (Mireshghallah et al. 2020,
"Shredder", sections 2.4 and 2.5).
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from defenses.parts.noise import standard_laplace
from splitlab.contracts import Protector
from splitlab.randomness import Draw

NoiseKind = Annotated[
    Literal["additive", "multiplicative", "both"],
    Field(description="noise added to the feature, a factor on each element, or both"),
]
Sampling = Annotated[
    Literal["distribution", "collection", "tensor", "prior"],
    Field(
        description="how a row comes by its noise; see defenses.parts.learned_noise.LearnedNoise"
    ),
]
PARTS = {
    "additive": ("noise",),
    "multiplicative": ("factor",),
    "both": ("noise", "factor"),
}
"""Which tensors each kind learns."""


class LearnedNoise(Protector):
    """z' = z * (1 + m) + n; whichever of m and n is not learned is left out.

    `sampling` says where a row has m and n from:
        distribution: one of the learned tensors is picked, its elements are drawn anew from the
            Laplace distribution fitted to it and put into its order of size (the paper's).
        collection: one of the learned tensors as it is.
        tensor: the only one that is kept.
        prior: from the distribution that learning begins with, in units of `unit`; of the features
            at hand where `unit` is not known. Nothing is learned: a control, and all that an
            adversary can draw who knows the defence but not its tensors.

    Until something was learned the tensors are 0 and z' = z.

    Args:
        shape: of one feature.
        kind: which tensors there are: the buffers `noise` (n) and `factor` (m), [draws, *shape].
        sampling: see above.
        draws: how many were learned and kept.
        scale: of the Laplace distribution that learning begins with: n / unit and m.
    """

    unit: Tensor

    def __init__(
        self, shape: tuple[int, ...], kind: NoiseKind, sampling: Sampling, draws: int, scale: float
    ) -> None:
        super().__init__()
        self.kind, self.sampling, self.scale = kind, sampling, scale
        self.draws = {"tensor": 1, "prior": 0}.get(sampling, draws)
        self.register_buffer("unit", torch.zeros(()))
        for name in PARTS[kind] if self.draws else ():
            self.register_buffer(name, torch.zeros(self.draws, *shape))

    def forward(self, feature: Tensor, draw: Draw) -> Tensor:
        if self.sampling == "prior":
            drawn = {
                name: self.scale
                * standard_laplace(draw.uniform(feature, f"{self.purpose} {name}"))
                * (self.unit_of(feature) if name == "noise" else 1.0)
                for name in PARTS[self.kind]
            }
            return perturb(feature, drawn)
        place = torch.zeros(len(feature), dtype=torch.int64, device=feature.device)
        if self.draws > 1:
            first = feature.flatten(1)[:, :1].float()
            share = draw.uniform(first, f"{self.purpose} which")[:, 0]
            place = (share * self.draws).long().clamp_max(self.draws - 1)
        rows = {}
        for name in PARTS[self.kind]:
            learned = self.get_buffer(name).to(feature)
            rows[name] = learned[place]
            if self.sampling == "distribution":
                uniform = draw.uniform(feature, f"{self.purpose} {name}")
                rows[name] = resample(learned, place, uniform)
        return perturb(feature, rows)

    @property
    def ready(self) -> bool:
        return bool(self.unit > 0)

    def unit_of(self, feature: Tensor) -> Tensor:
        """Standard deviation of the feature: as it was when the noise was made, else at hand."""
        return self.unit.to(feature) if self.unit > 0 else feature.std()


def perturb(feature: Tensor, noise: dict[str, Tensor]) -> Tensor:
    """z [B, *shape] and "noise", "factor" or both, broadcast over the batch -> z'."""
    if "factor" in noise:
        feature = feature * (1 + noise["factor"])
    return feature + noise["noise"] if "noise" in noise else feature


def resample(learned: Tensor, place: Tensor, uniform: Tensor) -> Tensor:
    """New noise like the learned: of its Laplace distribution, large and small where it is.

    Args:
        learned: [draws, *shape].
        place: int64 [B], which of them each row follows.
        uniform: in [0, 1), [B, *shape].

    Returns:
        [B, *shape]; a learned tensor of equal elements comes back as it is.
    """
    flat = learned.flatten(1)
    centre = flat.median(1, keepdim=True).values
    spread = (flat - centre).abs().mean(1, keepdim=True)
    ranks = flat.argsort(1).argsort(1)
    drawn = centre[place] + spread[place] * standard_laplace(uniform.flatten(1)).to(flat)
    return drawn.sort(1).values.gather(1, ranks[place]).view_as(uniform)
