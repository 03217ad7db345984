"""Figures 6 and 7 of DCI (Dong et al.): a generator inverted block by block, a second generation of
images, and interpolation between recovered latents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from adversary.inversion.dci.gan_inversion import errors_by_depth, invert
from adversary.inversion.dci.training import InverseSchooling
from bench.point.setup import Scale
from bench.report.grids import rows_png
from bench.reproduce.dci.figures6_7_page import SHARES, claims, drawn, write_page
from bench.reproduce.dci.setup import SOURCE
from bench.reproduce.frame.request import ExperimentRequest, Shown
from splitlab.contracts import kinds
from splitlab.data import ImageSet, load_splits
from splitlab.errors import BadInput, SplitLabError, Unavailable
from splitlab.machine import environment
from splitlab.metrics import evaluate
from splitlab.models import load_exactly, read_checkpoint
from splitlab.models.sngan import LATENT, SNGANGenerator
from splitlab.pieces import in_pieces
from splitlab.randomness import generator
from splitlab.storage import (
    canonical_json,
    hash_tensors,
    read_json,
    read_tensors,
    require_writable,
    sha256,
    write_bytes,
    write_json,
    write_tensors,
)
from splitlab.training import choose_device
from splitlab.training.gan import GanRecipe, train_sngan

NAME = "dci-gan"
PIECE = 64
NOTE = (
    "x = G(z) for latents of a victim; z' = inverse(x); x'' = G(z'). The inverse learned on the "
    "adversary's own latents, of which there are as many as it likes. Floors: the mean of the "
    "generator's images, and the latent 0, which an inverse that learned nothing could answer."
)


@dataclass(frozen=True)
class Config:
    """One scale.

    Args:
        latents: that the inverse learns on.
        victims: latents that are recovered.
    """

    size: int
    dataset: str
    train: int | None
    gan: GanRecipe
    latents: int
    schooling: InverseSchooling
    victims: int

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        gan, schooling = self.gan.model_dump(mode="json"), vars(self.schooling)
        return {**vars(self), "gan": gan, "schooling": schooling}


CONFIGS: Mapping[Scale, Config] = {
    "quick": Config(
        size=32,
        dataset="photo-patches",
        train=2000,
        gan=GanRecipe(width=32, epochs=24, rounds=2),
        latents=8192,
        schooling=InverseSchooling(1, 1e-3, 3, 3e-4, 64, 1.0, 1.0, 1.0, True),
        victims=256,
    ),
    "paper": Config(
        size=128,
        dataset="",
        train=None,
        gan=GanRecipe(width=1024, epochs=300, rounds=2),
        latents=192_000,
        schooling=InverseSchooling(1, 1e-3, 1, 1e-4, 32, 1.0, 1.0, 1.0, True),
        victims=1000,
    ),
}


def reproduce(request: ExperimentRequest) -> Shown:
    """Train a generator and its inverse for every seed; tables, images and a page.

    Raises:
        BadInput: `request.out` holds another run, or an option that has no meaning here.
        Unavailable: the scale has no data of its own and none were named.
    """
    request.refuse(NAME, "text_root", "lpips_weights", "secret_seed", "target", "keep_images")
    config = CONFIGS[request.scale]
    require_writable(request.out)
    about = {"experiment": NAME, "scale": request.scale, **config.as_dict()}
    about["dataset"] = (request.dataset or config.dataset).partition(":")[0]
    if request.weights is not None:
        about["weights"] = hash_tensors(read_checkpoint(request.weights))
    _bind(request.out / "experiment.json", about)
    rows = [_seed(request, config, seed) for seed in request.seeds]
    summary = {
        "format": "splitlab/gan-reproduction/1",
        **about,
        "source": f"{SOURCE}, Figures 6 and 7",
        "seeds": list(request.seeds),
        "rows": rows,
        "claims": claims(rows),
        "note": NOTE,
        "environment": environment(),
    }
    write_json(request.out / "summary.json", summary)
    return Shown([drawn(rows), *claims(rows), NOTE], write_page(request.out, summary))


def _bind(path: Path, about: dict[str, Any]) -> None:
    """
    Raises:
        BadInput: the folder holds a run of other settings or images.
    """
    if path.exists() and canonical_json(read_json(path)) != canonical_json(about):
        raise BadInput(
            f"{path.parent} holds a run of other settings or images; choose another --out"
        )
    write_json(path, about)


def _seed(request: ExperimentRequest, config: Config, seed: int) -> dict[str, Any]:
    """One generator, its inverse, and what came of them; a finished one is read back."""
    folder = request.out / f"seed-{seed}"
    real = None if request.weights else _real_images(request, config, seed)
    if real is not None:
        _bind(folder / "images.json", {"images": real.hash})
    done = folder / "finished.json"
    if done.exists():
        return read_json(done)
    place = choose_device(request.device)
    net = _generator(request, config, seed, folder, real).to(place)
    inverse, told = invert(
        net,
        config.schooling,
        latents=config.latents,
        seed=seed,
        device=place,
        folder=folder / "inverse",
        progress=request.progress,
    )
    found = _measured(net, inverse, config, seed, place, folder)
    row = {"seed": seed, **found, "losses": told, "environment": environment()}
    write_json(done, row)
    return row


def _real_images(request: ExperimentRequest, config: Config, seed: int) -> ImageSet:
    """
    Raises:
        Unavailable: no data set is named, and the scale has none.
    """
    dataset = request.dataset or config.dataset
    if not dataset:
        raise Unavailable(
            f"{NAME} at {request.scale} scale has no data of its own; name a folder of faces with "
            "--dataset imagefolder:PATH"
        )
    return load_splits(
        dataset,
        size=config.size,
        seed=seed,
        root=request.data_root,
        download=request.download,
        limits={"train": config.train} if config.train else None,
    ).train


def _generator(
    request: ExperimentRequest, config: Config, seed: int, folder: Path, real: ImageSet | None
) -> SNGANGenerator:
    """The given one, that of an earlier run, or one trained on `real`."""
    kept = folder / "generator.safetensors"
    net = SNGANGenerator(config.size, config.gan.width)
    if request.weights is not None:
        load_exactly(net, read_checkpoint(request.weights), str(request.weights))
    elif kept.exists():
        net.load_state_dict(read_tensors(kept, f"remove {kept} to train again"))
    else:
        assert real is not None
        place = choose_device(request.device)
        net, _ = train_sngan(
            real.images.to(place),
            config.gan,
            seed=seed,
            device=place,
            checkpoint=folder / "generator.pt",
            progress=request.progress,
        )
        write_tensors(kept, net.state_dict())
    return net.requires_grad_(False).eval()


@torch.inference_mode()
def _measured(
    net: SNGANGenerator,
    inverse: nn.Module,
    config: Config,
    seed: int,
    place: torch.device,
    folder: Path,
) -> dict[str, Any]:
    """Numbers of the victims' latents, and the two figures."""
    z, others = (
        torch.randn(config.victims, LATENT, generator=generator(seed, "gan", who))
        for who in ("victims", "others")
    )
    average = _run(net, others, place).mean(0, keepdim=True)
    first = _run(net, z, place)
    recovered = _run(inverse, first, place)
    again = _run(net, recovered, place)
    shown = [_unit(images) for images in (first, again, average.expand_as(first).contiguous())]
    quality = evaluate(("psnr", "ssim"), shown[0], shown[1], {})
    base = evaluate(("psnr", "ssim"), shown[0], shown[2], {})
    write_bytes(folder / "second-generation.png", rows_png(shown[:2]))
    ends = recovered[:8].unsqueeze(1)
    steps = torch.tensor(SHARES).view(1, -1, 1)
    path = steps * ends[0::2] + (1 - steps) * ends[1::2]
    rows = _unit(_run(net, path.flatten(0, 1), place)).unflatten(0, (len(path), len(SHARES)))
    write_bytes(folder / "interpolation.png", rows_png(list(rows)))
    if fault := kinds.LATENT.check(recovered, len(z), None):
        raise SplitLabError(f"the inverse {fault}")
    latents = evaluate(kinds.LATENT.load_metrics(), z, recovered)
    least = evaluate([kinds.LATENT.headline], z, kinds.LATENT.floor_of(others).expand_as(z))
    spread = recovered.flatten().double()
    return {
        "victims": config.victims,
        "second_generation_psnr": quality["psnr"].number,
        "second_generation_ssim": quality["ssim"].number,
        "floor_psnr": base["psnr"].number,
        "floor_ssim": base["ssim"].number,
        "latent_error": latents["latent_error"].number,
        "latent_error_of_zero": least["latent_error"].number,
        "latent_error_by_depth": errors_by_depth(net, inverse, z.to(place)),
        "latent_mean": float(spread.mean()),
        "latent_variance": float(spread.var()),
        "latent_ks": latents["latent_ks"].number,
        "generator": sha256(
            *(value.cpu().numpy().tobytes() for value in net.state_dict().values())
        ),
    }


def _run(module: nn.Module, inputs: Tensor, place: torch.device) -> Tensor:
    return in_pieces(lambda part: module(part).float(), inputs, PIECE, place)


def _unit(images: Tensor) -> Tensor:
    return (images + 1) / 2
