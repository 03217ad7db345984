"""Every metric by the name of its column."""

from splitlab.contracts.registry import Registry

METRICS = Registry(
    "metric",
    {
        "mse": "splitlab.metrics.image.mse:METRIC",
        "psnr": "splitlab.metrics.image.psnr:METRIC",
        "ssim": "splitlab.metrics.image.ssim:METRIC",
        "lpips_alex": "splitlab.metrics.image.perceptual:LPIPS_ALEX",
        "lpips_vgg": "splitlab.metrics.image.perceptual:LPIPS_VGG",
        "lpips_squeeze": "splitlab.metrics.image.perceptual:LPIPS_SQUEEZE",
        "reidentified_by_pixels": "splitlab.metrics.image.reidentification:BY_PIXELS",
        "reidentified_by_features": "splitlab.metrics.image.reidentification:BY_FEATURES",
    },
)
