"""Every metric by the name of its column."""

from splitlab.contracts.registry import Registry

METRICS = Registry(
    "metric",
    {
        "mse": "splitlab.image_quality.mse:METRIC",
        "psnr": "splitlab.image_quality.psnr:METRIC",
        "ssim": "splitlab.image_quality.ssim:METRIC",
        "lpips_alex": "splitlab.image_quality.perceptual:LPIPS_ALEX",
        "lpips_vgg": "splitlab.image_quality.perceptual:LPIPS_VGG",
        "lpips_squeeze": "splitlab.image_quality.perceptual:LPIPS_SQUEEZE",
        "reidentified_by_pixels": "splitlab.image_quality.reidentification:BY_PIXELS",
        "reidentified_by_features": "splitlab.image_quality.reidentification:BY_FEATURES",
    },
)
