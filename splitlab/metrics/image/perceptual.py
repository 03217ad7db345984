"""LPIPS (Zhang et al. 2018), package `lpips`, version 0.1; a column for each backbone.

The backbones' ImageNet weights are never downloaded: they come from a folder the user names or from
torch's own cache, and where they are absent the column says so. Images of 32 pixels are not
enlarged, as in the papers this lab reproduces.
"""

from __future__ import annotations

import functools
import pickle
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from splitlab.contracts.metric import Context, Metric
from splitlab.errors import Corrupt, Unavailable
from splitlab.metrics.image.mse import checked

FILES = {"alex": "alexnet-*.pth", "vgg": "vgg16-*.pth", "squeeze": "squeezenet1_1-*.pth"}
"""Names under which torchvision's checkpoints lie in torch's cache."""

CHUNK = 64
"""Images at once: keeps VGG's activations of 224-pixel images below 2 GiB."""


def weights_file(backbone: str, folder: Path | None) -> Path:
    """The checkpoint of one backbone, from `folder` or from torch's cache.

    Raises:
        Unavailable: there is none; says where it was looked for and what to do.
    """
    place = Path(torch.hub.get_dir()) / "checkpoints" if folder is None else folder
    found = sorted(place.glob(FILES[backbone])) if place.is_dir() else []
    if found:
        return found[0]
    where = "--lpips-weights" if folder is not None else "torch's cache"
    raise Unavailable(
        f"no ImageNet weights of the {backbone} backbone ({FILES[backbone]}) in {where}; "
        "put torchvision's checkpoint into a folder and name it with --lpips-weights"
    )


def load_lpips(backbone: str, folder: Path | None = None) -> nn.Module:
    """The LPIPS network of one backbone, frozen, in eval mode, on the CPU.

    Args:
        backbone: "alex", "vgg" or "squeeze".
        folder: where the backbone's checkpoint lies; None for torch's cache.

    Raises:
        Unavailable: no weights, or the package cannot be imported.
        Corrupt: the file is not a checkpoint of this backbone.
    """
    return _loaded(backbone, str(weights_file(backbone, folder)))


@functools.lru_cache(maxsize=3)
def _loaded(backbone: str, file: str) -> nn.Module:
    try:
        import lpips
    except ImportError as error:
        raise Unavailable(f"package lpips cannot be imported ({error}); install it") from error
    damaged = f"not a checkpoint of the {backbone} backbone"
    try:
        given = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise Corrupt(file, f"{damaged} (not readable by torch)") from error
    with warnings.catch_warnings():
        # lpips asks torchvision for its backbone by the deprecated `pretrained=` argument
        warnings.simplefilter("ignore")
        net: nn.Module = lpips.LPIPS(net=backbone, pnet_rand=True, verbose=False)
    trunk = net.get_submodule("net")
    try:
        # "slice3.5.weight" of lpips is "features.5.weight" of torchvision
        wanted = {key: given["features." + key.split(".", 1)[1]] for key in trunk.state_dict()}
        trunk.load_state_dict(wanted)
    except (KeyError, RuntimeError, TypeError, AttributeError) as error:
        raise Corrupt(file, f"{damaged} ({error})") from error
    return net.requires_grad_(False).eval()


def lpips_distance(truth: Tensor, estimate: Tensor, net: nn.Module) -> Tensor:
    """LPIPS of each pair under a network of `load_lpips`.

    Args:
        truth: float [B, 3, H, W] in [0, 1]; values outside are clamped, in both arguments.
        estimate: the same shape.
        net: as `load_lpips` gives it; on the images' device.

    Returns:
        float32 [B], 0 for equal images.
    """
    true, guess = (images.float() * 2 - 1 for images in checked(truth, estimate))
    with torch.inference_mode():
        pieces = zip(true.split(CHUNK), guess.split(CHUNK), strict=True)
        values = [net(a, b).flatten() for a, b in pieces]
    return torch.cat(values).clone() if values else truth.new_zeros(0)


def _metric(backbone: str, *, tabled: bool = True) -> Metric:
    def per_item(truths: Tensor, estimates: Tensor, context: Context) -> Tensor:
        net = load_lpips(backbone, context.get("lpips_weights"))
        return lpips_distance(truths, estimates, net.to(truths.device))

    return Metric(
        f"lpips_{backbone}",
        "1",
        "falls",
        title=f"LPIPS {backbone}",
        tabled=tabled,
        bounds=(0.0, None),
        per_item=per_item,
        needs=("lpips_weights",),
    )


LPIPS_ALEX, LPIPS_SQUEEZE = _metric("alex"), _metric("squeeze")
LPIPS_VGG = _metric("vgg", tabled=False)
