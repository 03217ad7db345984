"""Words read and latents found, counted by hand."""

import pytest
import torch

from splitlab.contracts.kinds import LATENT, TOKENS
from splitlab.errors import BadInput
from splitlab.metrics import evaluate
from splitlab.metrics.latent import normality

TRUTH = torch.tensor([[4, 5, 2, 0], [6, 4, 4, 2], [7, 8, 9, 5]])
READ = torch.tensor([[4, 9, 9, 9], [6, 4, 4, 0], [0, 0, 0, 5]])


def test_words_by_hand():
    """1 of 2, 3 of 3, 1 of 4; without word 4: 0 of 1, 1 of 1, 1 of 4."""
    context = {"special": 4, "common": torch.tensor([4])}
    found = evaluate(TOKENS.load_metrics(), TRUTH, READ, context)
    assert found["words_read"].values.tolist() == pytest.approx([50, 100, 25])
    assert found["sentences_read"].number == pytest.approx(100 / 3)
    assert found["rarer_words_read"].number == pytest.approx(100 * 2 / 6)
    every = {"special": 4, "common": torch.arange(4, 10)}
    column = evaluate(TOKENS.load_metrics(), TRUTH, READ, every)["rarer_words_read"]
    assert column.number is None
    assert "no word but the most common" in column.why


def test_sentences_that_cannot_be_compared():
    for truth, read, said in (
        (TRUTH, READ[:, :3], "cannot be compared"),
        (torch.zeros_like(TRUTH), READ, "has no word"),
    ):
        with pytest.raises(BadInput, match=said):
            evaluate(["words_read"], truth, read, {"special": 4})
    with pytest.raises(BadInput, match="special"):
        evaluate(["words_read"], TRUTH, READ)


def test_latents_by_hand():
    z = torch.randn(200, 16, generator=torch.Generator().manual_seed(0))
    shifted = evaluate(LATENT.load_metrics(), z, z + 0.25)
    assert shifted["latent_error"].number == pytest.approx(0.25, abs=1e-6)
    assert shifted["latent_ks"].number > 0.08  # Phi(0.125) - Phi(-0.125) = 0.0995
    zeros = LATENT.floor_of(z).expand_as(z)
    least = evaluate([LATENT.headline], z, zeros)["latent_error"].number
    assert least == pytest.approx((2 / torch.pi) ** 0.5, abs=0.03)
    assert LATENT.headline.failed(least, least)
    assert not LATENT.headline.failed(0.25, least)


def test_normality_of_quantiles_and_of_a_constant():
    levels = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    assert normality(torch.special.ndtri(levels)) == pytest.approx(0.0005, abs=1e-6)
    assert normality(torch.zeros(10)) == pytest.approx(0.5)
