"""Train one shadow network through frozen bodies, and judge it without the client (Liu and Xiong
2024, "Ensembler", section 3; SPEC E-10).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from adversary.contract.workplace import ALONE, Workplace
from adversary.inversion.shadow.bodies import ShadowNetwork, TopGate
from adversary.inversion.shadow.matching import Moments, Penalty
from splitlab.data import ImageSet
from splitlab.training import Batch, History, Loss, State, Step, objective

TOP_RATE = 10.0
"""The scores of a hard choice learn so much faster than the weights: they have to outgrow the noise
of the draws, whose deviation is 1.3, within a few hundred steps."""
ROWS = 250


@dataclass(frozen=True)
class ShadowSchooling:
    """How a shadow is trained: with Adam at a constant rate.

    Args:
        weight: of the penalty beside the cross-entropy.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight: float


@dataclass(frozen=True)
class Judgement:
    """What held-out images and, where it is granted, the capture say of a shadow.

    Args:
        loss: cross-entropy on held-out images.
        accuracy: on them, in %.
        distance: of its features' channel means and deviations from the captured ones, or None.
    """

    loss: float
    accuracy: float
    distance: float | None

    @property
    def score(self) -> float:
        """Lower is better."""
        return self.loss + (self.distance or 0.0)


@dataclass(frozen=True, eq=False)
class TrainedShadow:
    """A finished shadow.

    Args:
        ids: bodies that it was trained through.
    """

    ids: tuple[int, ...]
    net: ShadowNetwork
    history: History
    judged: Judgement

    def facts(self) -> dict[str, Any]:
        """For the record."""
        return {
            "bodies": list(self.ids),
            "validation_loss": self.judged.loss,
            "accuracy": self.judged.accuracy,
            "distance": self.judged.distance,
            "seconds": round(self.history.seconds, 3),
        }


def train_shadow(
    net: ShadowNetwork,
    images: ImageSet,
    how: ShadowSchooling,
    *,
    penalty: Penalty | None,
    seed: int,
    work: Workplace = ALONE,
    name: str = "shadow",
) -> History:
    """Cross-entropy through the bodies, in place; the network ends in eval mode.

    Raises:
        BadInput: the loss is not finite.
        Mismatch, Corrupt: the checkpoint is another run's, or damaged.
    """
    scores = [net.gate.scores] if isinstance(net.gate, TopGate) else []
    rest = [p for p in net.parameters() if all(p is not one for one in scores)]
    groups = [{"params": rest, "lr": how.learning_rate}]
    if scores:
        groups.append({"params": scores, "lr": TOP_RATE * how.learning_rate})
    draw = torch.Generator()
    net.train()
    history = work.fit(
        _step(penalty, how.weight, draw),
        State({"net": net}, {"net": torch.optim.Adam(groups)}, {}, {}, {"draw": draw}),
        images,
        epochs=how.epochs,
        batch_size=how.batch_size,
        seed=seed,
        name=name,
    )
    net.eval()
    return history


def _step(penalty: Penalty | None, weight: float, draw: torch.Generator) -> Step:
    def step(state: State, batch: Batch) -> dict[str, Loss]:
        features, logits = state.modules["net"](batch.images, draw)
        term = None if penalty is None else weight * penalty(features)
        return {"net": objective(logits, batch.labels, 0.0, term)}

    return step


@torch.no_grad()
def judge(
    net: ShadowNetwork,
    held_out: ImageSet,
    captured: Moments | None,
    rng: torch.Generator,
    device: torch.device,
) -> Judgement:
    """How well a trained shadow does on images that it did not learn from."""
    features: list[Tensor] = []
    logits: list[Tensor] = []
    for pixels in held_out.images.split(ROWS):
        sent, answer = net(pixels.to(device).float().div_(255), rng)
        logits.append(answer.float())
        if captured is not None:
            features.append(sent.float())
    answers, labels = torch.cat(logits), held_out.labels.to(device)
    far = None
    if captured is not None:
        far = float(captured.distance(torch.cat(features), covariance=False))
    return Judgement(
        loss=float(objective(answers, labels)),
        accuracy=100 * float((answers.argmax(1) == labels).float().mean()),
        distance=far,
    )
