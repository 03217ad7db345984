"""MSE, PSNR and SSIM against hand-made values and against scikit-image."""

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from splitlab.errors import BadInput
from splitlab.metrics import mse, psnr, psnr_of_mean, ssim
from splitlab.metrics.image.psnr import CEILING_DB


def pairs(batch: int = 6, size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(3)
    smooth = torch.nn.functional.interpolate(
        torch.rand(batch, 3, 4, 4, generator=g), size=size, mode="bicubic"
    ).clamp(0, 1)
    noise = torch.linspace(0.01, 0.5, batch).view(-1, 1, 1, 1)
    return smooth, (smooth + noise * torch.randn(smooth.shape, generator=g)).clamp(0, 1)


def test_mse_of_a_known_difference():
    truth = torch.zeros(2, 3, 8, 8)
    estimate = truth.clone()
    estimate[0] += 0.5
    estimate[1, :, :4] += 1.0
    assert mse(truth, estimate).tolist() == pytest.approx([0.25, 0.5])


def test_values_outside_the_range_are_clamped():
    truth = torch.zeros(1, 3, 8, 8)
    assert mse(truth, truth - 3).item() == 0
    assert mse(truth, truth + 3).item() == 1


def test_psnr_equals_scikit_image():
    truth, estimate = pairs()
    wanted = [
        peak_signal_noise_ratio(t.numpy(), e.numpy(), data_range=1)
        for t, e in zip(truth, estimate, strict=True)
    ]
    np.testing.assert_allclose(psnr(truth, estimate).numpy(), wanted, atol=1e-3)


def test_psnr_of_equal_images_is_capped():
    truth, _ = pairs(2)
    assert psnr(truth, truth).tolist() == [CEILING_DB, CEILING_DB]


def test_mean_psnr_is_never_below_psnr_of_mean():
    truth, estimate = pairs()
    assert psnr(truth, estimate).mean().item() > psnr_of_mean(mse(truth, estimate))


@pytest.mark.parametrize("size", [11, 32, 65])
def test_ssim_equals_scikit_image(size):
    truth, estimate = pairs(size=size)
    wanted = [
        structural_similarity(
            t.numpy(),
            e.numpy(),
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1,
        )
        for t, e in zip(truth, estimate, strict=True)
    ]
    np.testing.assert_allclose(ssim(truth, estimate).numpy(), wanted, atol=1e-4)


def test_ssim_of_small_images_uses_the_small_window():
    truth, estimate = pairs(size=8)
    assert ssim(truth, truth).tolist() == pytest.approx([1.0] * 6)
    assert bool((ssim(truth, estimate) < 1).all())
    with pytest.raises(BadInput, match="7x7"):
        ssim(truth[..., :6], estimate[..., :6])


@pytest.mark.parametrize("metric", [mse, psnr, ssim])
def test_bad_images_are_refused(metric):
    truth, estimate = pairs(2)
    with pytest.raises(BadInput, match="one shape"):
        metric(truth, estimate[:1])
    estimate[0, 0, 0, 0] = float("nan")
    with pytest.raises(BadInput, match="NaN"):
        metric(truth, estimate)
