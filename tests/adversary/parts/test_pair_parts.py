"""Pairs in parts, and the error that an inverse network minimises."""

import pytest
import torch
import torch.nn.functional as F
from skimage.metrics import structural_similarity
from torch import nn
from worlds import AUX, capture, tiny_head

from adversary.parts.pairs import given_pairs, pixel_error
from splitlab.training import Batch, State

HEAD = tiny_head("block1")
PIXELS = AUX.images.images[:7]
PAIRS = given_pairs(PIXELS, capture(HEAD, pixels=PIXELS.float() / 255))


@pytest.mark.parametrize("count", [0, 1, 3, 7])
def test_the_first_of_the_pairs_and_those_after_are_all_of_them(count):
    first, after = PAIRS.first(count), PAIRS.after(count)
    assert (len(first.images), len(after.images)) == (count, 7 - count)
    assert torch.equal(torch.cat([first.images, after.images]), PAIRS.images)
    assert torch.equal(torch.cat([first.features, after.features]), PAIRS.features)
    assert (first.how, after.feature) == (PAIRS.how, PAIRS.feature)


class Answers(nn.Module):
    """Answers with what it was made with."""

    def __init__(self, answer):
        super().__init__()
        self.answer = nn.Parameter(answer)

    def forward(self, _):
        return self.answer


@pytest.mark.parametrize("weight", [0.0, 0.02, 1.0])
def test_pixel_error_is_the_squared_error_and_the_weighted_lack_of_similarity(weight):
    images = PIXELS[:3].float() / 255
    answer = (images + 0.1 * torch.randn(images.shape, generator=rng())).clamp(0, 1)
    net = Answers(answer)
    batch = Batch((images, PAIRS.features[:3]), torch.arange(3))
    found = pixel_error(PAIRS, rng(), weight)(State({"net": net}, {}), batch)["net"]
    similar = [
        structural_similarity(
            one.numpy(),
            other.numpy(),
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1,
        )
        for one, other in zip(images, answer, strict=True)
    ]
    lack = 1 - sum(similar) / len(similar)
    wanted = float(F.mse_loss(answer, images)) + weight * lack
    assert float(found.detach()) == pytest.approx(wanted, abs=1e-4 * max(weight, 1e-3))
    found.backward()
    assert net.answer.grad.abs().sum() > 0


def rng():
    return torch.Generator().manual_seed(0)
