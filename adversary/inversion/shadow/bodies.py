"""A shadow network through the server's frozen bodies (Liu and Xiong 2024, "Ensembler").

Head and tail are the adversary's, and so is the gate that weighs the bodies' outputs as the
client's secret selector does: equally, by a learned softmax, or by a search for the best P.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from adversary.contract.believed import Spoil
from splitlab.contracts import FeatureSpec


class BodyGate(nn.Module):
    """Weights of the bodies' outputs, [bodies], which sum to 1; equal ones."""

    def __init__(self, bodies: int) -> None:
        super().__init__()
        self.bodies = bodies

    def forward(self, rng: torch.Generator, like: Tensor) -> Tensor:  # noqa: ARG002
        """On the device of `like`; `rng` is for gates that draw."""
        return torch.full((self.bodies,), 1 / self.bodies, device=like.device)

    def settled(self) -> list[float]:
        """The weights outside of training."""
        with torch.inference_mode():
            return self.eval()(torch.Generator(), torch.zeros(())).tolist()


class LearnedGate(BodyGate):
    """The softmax of learned numbers, which begins with equal weights (E-12)."""

    def __init__(self, bodies: int) -> None:
        super().__init__(bodies)
        self.scores = nn.Parameter(torch.zeros(bodies))

    def forward(self, rng: torch.Generator, like: Tensor) -> Tensor:  # noqa: ARG002
        return self.scores.to(like.device).softmax(0)

    def settled(self) -> list[float]:
        with torch.inference_mode():
            return self.scores.softmax(0).tolist()


class TopGate(BodyGate):
    """Exactly P bodies with 1/P each, others with 0, the choice learned straight through (E-13 b).

    While it is trained, Gumbel noise is added to the scores, which draws subsets in proportion to
    them; it falls to nothing over the training. Backwards each body's weight is a sigmoid of how
    far it is above the cut between chosen and not: under a softmax, which a single body can fill,
    the first that is of use would push all others out.

    Args:
        bodies: N.
        chosen: P.
        steps: of the training.
    """

    taken: Tensor

    def __init__(self, bodies: int, chosen: int, steps: int) -> None:
        super().__init__(bodies)
        self.chosen, self.steps = chosen, steps
        self.scores = nn.Parameter(torch.zeros(bodies))
        self.register_buffer("taken", torch.zeros((), dtype=torch.int64))

    def forward(self, rng: torch.Generator, like: Tensor) -> Tensor:
        scores = self.scores.to(like.device)
        if not self.training:
            return self._hard(scores)
        heat = max(0.0, 1 - int(self.taken) / self.steps)
        self.taken += 1
        draws = torch.rand(self.bodies, generator=rng).clamp(1e-9, 1 - 1e-7)
        scores = scores - heat * (-draws.log()).log().to(like.device)
        soft = (scores - self._cut(scores)).sigmoid() / self.chosen
        return self._hard(scores) + soft - soft.detach()

    def settled(self) -> list[float]:
        with torch.inference_mode():
            return self._hard(self.scores).tolist()

    def _cut(self, scores: Tensor) -> Tensor:
        """Half-way between the last that is chosen and the first that is not."""
        ordered = scores.detach().sort(descending=True).values
        return ordered[self.chosen - 1 : self.chosen + 1].mean()

    def _hard(self, scores: Tensor) -> Tensor:
        best = scores.detach().topk(self.chosen).indices
        return torch.zeros_like(scores).index_fill(0, best, 1 / self.chosen)


class ShadowNetwork(nn.Module):
    """Shadow head -> what is believed to happen to a feature -> bodies -> gate -> shadow tail.

    The bodies are frozen copies in eval mode on `device` and no part of the state dict.

    Args:
        head: images [B, 3, S, S] in [0, 1] -> z [B, *feature_shape].
        bodies: those that are used, in order.
        gate: weighs their outputs.
        tail: their outputs, concatenated along the channel axis -> logits [B, classes].
        spoil: what the adversary believes to happen to a feature on its way; differentiable.
        offsets: shape of one feature where a tensor is learned for each body that is added to what
            it is fed (E-13 a), so that the bodies' own fixed noises can be undone.
    """

    def __init__(
        self,
        head: nn.Module,
        bodies: Sequence[nn.Module],
        gate: BodyGate,
        tail: nn.Module,
        *,
        device: torch.device,
        spoil: Spoil | None = None,
        offsets: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        self.head, self.gate, self.tail = head, gate, tail
        # In a tuple they are no submodules: neither trained, saved nor put into train mode.
        self.bodies = tuple(_frozen(body, device) for body in bodies)
        self.spoil = spoil
        self.offsets = (
            nn.Parameter(torch.zeros(len(self.bodies), *offsets)) if offsets is not None else None
        )

    def forward(self, images: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images -> (z' as it would cross the wire, logits); each body is run once."""
        feature = self.head(images)
        if self.spoil is not None:
            feature = self.spoil(feature, rng)
        fed = [feature] * len(self.bodies)
        if self.offsets is not None:
            fed = [feature + offset for offset in self.offsets]
        outputs = [body(one) for body, one in zip(self.bodies, fed, strict=True)]
        weights = self.gate(rng, feature)
        return self._sent(feature, weights), self.tail(weighed(outputs, weights))

    def _sent(self, feature: Tensor, weights: Tensor) -> Tensor:
        """What all bodies are fed at once on the wire: on average what each of them is fed here."""
        if self.offsets is None:
            return feature
        return feature + torch.tensordot(weights.to(self.offsets), self.offsets, 1)

    def sender(self) -> nn.Module:
        """A frozen copy in eval mode on the CPU of what stands for the client's head."""
        offset = None
        if self.offsets is not None:
            weights = torch.tensor(self.gate.settled())
            offset = torch.tensordot(weights, self.offsets.detach().cpu(), 1)
        head = copy.deepcopy(self.head).cpu().requires_grad_(False).eval()
        return head if offset is None else _Shifted(head, offset)


class _Shifted(nn.Module):
    offset: Tensor

    def __init__(self, head: nn.Module, offset: Tensor) -> None:
        super().__init__()
        self.head = head
        self.register_buffer("offset", offset)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(images) + self.offset


def weighed(outputs: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Outputs [B, *output_shape] times their weights, concatenated as the client's selector does.

    A single output is left as it is.
    """
    if len(outputs) == 1:
        return outputs[0]
    axis = FeatureSpec(shape=tuple(outputs[0].shape[1:])).channel_axis
    return torch.cat([y * w for y, w in zip(outputs, weights.to(outputs[0]), strict=True)], axis)


def _frozen(body: nn.Module, device: torch.device) -> nn.Module:
    own = copy.deepcopy(body).to(device).to(memory_format=torch.channels_last)
    return own.requires_grad_(False).eval()
