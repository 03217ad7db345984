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
        "membership_auc": "splitlab.metrics.membership:AUC",
        "membership_tpr_at_1_percent": "splitlab.metrics.membership:TPR_AT_1",
        "membership_tpr_at_0.1_percent": "splitlab.metrics.membership:TPR_AT_TENTH",
        "words_read": "splitlab.metrics.words:WORDS_READ",
        "rarer_words_read": "splitlab.metrics.words:RARER_WORDS_READ",
        "sentences_read": "splitlab.metrics.words:SENTENCES_READ",
        "latent_error": "splitlab.metrics.latent:ERROR",
        "latent_ks": "splitlab.metrics.latent:NORMALITY",
        "second_generation_psnr": "splitlab.metrics.latent:SECOND_PSNR",
        "second_generation_ssim": "splitlab.metrics.latent:SECOND_SSIM",
    },
)
