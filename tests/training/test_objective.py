"""The one objective: known answers by hand, soft labels, smoothing of either sign, terms."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from splitlab.training import objective

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 1.5, 0.0]])
LABELS = torch.tensor([0, 2])
LEVELS = [-1.0, -0.05, 0.0, 0.1, 0.9]


def by_hand(shares: torch.Tensor) -> torch.Tensor:
    """Minus the shares' log probabilities, without PyTorch's cross entropy."""
    logs = LOGITS - LOGITS.exp().sum(1, keepdim=True).log()
    return -(shares * logs).sum(1).mean()


@pytest.mark.parametrize("smoothing", LEVELS)
def test_the_target_is_the_label_and_a_share_of_every_class(smoothing: float) -> None:
    shares = (1 - smoothing) * F.one_hot(LABELS, 3) + smoothing / 3
    found = objective(LOGITS, LABELS, smoothing)
    assert found.item() == pytest.approx(by_hand(shares).item(), abs=1e-6)


@pytest.mark.parametrize("smoothing", LEVELS)
def test_shares_of_classes_are_labels_too(smoothing: float) -> None:
    one_hot = F.one_hot(LABELS, 3).float()
    hard, soft = (objective(LOGITS, labels, smoothing) for labels in (LABELS, one_hot))
    assert soft.item() == pytest.approx(hard.item(), abs=1e-6)
    mixed = torch.tensor([[0.3, 0.7, 0.0], [0.0, 0.5, 0.5]])
    shares = (1 - smoothing) * mixed + smoothing / 3
    found = objective(LOGITS, mixed, smoothing)
    assert found.item() == pytest.approx(by_hand(shares).item(), abs=1e-6)


def test_the_usual_one_is_bit_by_bit_pytorchs() -> None:
    logits = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(64) % 10
    for smoothing in (0.0, 0.1):
        wanted = F.cross_entropy(logits, labels, label_smoothing=smoothing)
        assert torch.equal(objective(logits, labels, smoothing), wanted)


def test_negative_smoothing_drives_other_classes_further_down() -> None:
    """At a perfect answer plain cross entropy has no gradient left; this has, away from others."""
    logits = torch.tensor([[40.0, 0.0, 0.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(objective(logits, torch.tensor([0]), -0.3), logits)
    assert gradient[0].tolist() == pytest.approx([-0.2, 0.1, 0.1], abs=1e-5)


def test_terms_are_added_and_none_is_nothing() -> None:
    plain = objective(LOGITS, LABELS)
    assert torch.equal(objective(LOGITS, LABELS, 0.0, None, None), plain)
    with_terms = objective(LOGITS, LABELS, 0.0, torch.tensor(2.0), None, torch.tensor(-0.5))
    assert with_terms.item() == pytest.approx(plain.item() + 1.5)


def test_no_classifier_writes_an_objective_of_its_own() -> None:
    """Words of a text, classes of synthetic images and what is only measured are other things."""
    root = Path(__file__).resolve().parents[2]
    others = {
        "splitlab/training/objective.py",
        "splitlab/training/translator.py",
        "adversary/inversion/text/words.py",
        "adversary/synthesis/synthesis.py",
        "defenses/shredder.py",
    }
    places = [
        p for room in ("splitlab", "defenses", "adversary") for p in (root / room).rglob("*.py")
    ]
    found = {str(p.relative_to(root)) for p in places if "cross_entropy(" in p.read_text()}
    assert found <= others
    assert (root / "defenses/shredder.py").read_text().count("cross_entropy(") == 1
