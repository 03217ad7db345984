"""A diffusion prior from a folder of the `diffusers` library: a `UNet2DModel` in safetensors.

Either the network's own folder (config.json and its weights), or a pipeline's with `unet/` and
`scheduler/`. Nothing is unpickled and nothing is fetched. DRAG's own prior of pixels is one
(google/ddpm-bedroom-256, in the authors' config/image_prior/lsun_bedroom.yaml).
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adversary.inversion.drag.schedule import TIMES, cosine, linear
from adversary.inversion.drag.training import DiffusionPrior
from splitlab.errors import BadInput, foreign
from splitlab.storage import read_json

CONFIG, SCHEDULE = "config.json", "scheduler_config.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
EXTRA = "pip install 'splitlab[diffusion]'"


def network_folder(path: str) -> Path:
    """Where the network lies; asked before anything is trained.

    Raises:
        BadInput: no such folder, no configuration of a `UNet2DModel`, or weights that are no
            safetensors; or the library is not installed.
    """
    given = Path(path).expanduser()
    found = given / "unet" if (given / "unet").is_dir() else given
    missing = [name for name in (CONFIG, WEIGHTS) if not (found / name).is_file()]
    if missing:
        raise BadInput(
            f"prior={path}: wanted a folder of diffusers with {CONFIG} and {WEIGHTS}; "
            f"{' and '.join(missing)} missing. Weights in another format are not read: save them "
            "with save_pretrained(..., safe_serialization=True)"
        )
    kind = read_json(found / CONFIG).get("_class_name")
    if kind != "UNet2DModel":
        raise BadInput(
            f"prior={path}: it holds a {foreign(str(kind), 60)}; wanted a UNet2DModel of pixels, "
            "without text and without latents"
        )
    _library()
    return found


def hash_of_prior(path: str) -> str:
    """What stands for a folder in a record: hex SHA-256 of network, weights and schedule.

    Raises:
        BadInput: as `network_folder`.
    """
    folder = network_folder(path)
    files = [folder / CONFIG, folder / WEIGHTS, *_schedule_files(folder)[:1]]
    return _hash_of(tuple((file, file.stat().st_mtime_ns, file.stat().st_size) for file in files))


@lru_cache(maxsize=16)
def _hash_of(files: tuple[tuple[Path, int, int], ...]) -> str:
    whole = hashlib.sha256()
    for path, _, _ in files:
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def read_prior(path: str, place: torch.device) -> DiffusionPrior:
    """The prior in a folder, frozen, in eval mode, on `place`.

    Raises:
        BadInput: as `network_folder`; a network that does not go from three channels to three, or
            a schedule that is not of noise alone.
    """
    folder = network_folder(path)
    try:
        net = _library().UNet2DModel.from_pretrained(
            str(folder), use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False
        )
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        raise BadInput(f"prior={path} cannot be read: {foreign(str(error), 200)}") from error
    config = net.config
    if (config.in_channels, config.out_channels) != (3, 3):
        raise BadInput(
            f"prior={path}: {config.in_channels} channels in and {config.out_channels} out; wanted "
            "3 and 3, colours alone and no variance"
        )
    if not isinstance(config.sample_size, int):
        raise BadInput(f"prior={path}: sample_size={config.sample_size!r}; wanted a whole number")
    net = net.to(place).requires_grad_(False).eval()

    def epsilon(images: Tensor, times: Tensor) -> Tensor:
        return net(images, times).sample

    levels = folder_schedule(_schedule(folder), path).to(place, torch.float32)
    count = sum(p.numel() for p in net.parameters())
    facts = {"from": "folder", "parameters": count, "size": config.sample_size}
    return DiffusionPrior(epsilon, levels, config.sample_size, facts)


def folder_schedule(told: dict[str, Any], path: str) -> Tensor:
    """alpha_bar of each time, as a scheduler's configuration says; DDPM's own where it is silent.

    Raises:
        BadInput: a schedule that is not known, or a network that predicts something else.
    """
    wanted = told.get("prediction_type", "epsilon")
    if wanted != "epsilon":
        raise BadInput(f"prior={path} predicts {foreign(str(wanted), 60)}; wanted epsilon")
    name, times = told.get("beta_schedule", "linear"), told.get("num_train_timesteps", TIMES)
    first, last = told.get("beta_start", 1e-4), told.get("beta_end", 2e-2)
    if not isinstance(times, int) or not 2 <= times <= 1_000_000:
        raise BadInput(f"prior={path}: num_train_timesteps={times!r}; wanted 2 to 1,000,000")
    if name == "squaredcos_cap_v2":
        return cosine(times)
    rising = isinstance(first, float) and isinstance(last, float) and 0 < first < last < 1
    if name not in ("linear", "scaled_linear") or not rising:
        raise BadInput(
            f"prior={path}: beta_schedule={foreign(str(name), 60)} from {first!r} to {last!r}; "
            "wanted linear, scaled_linear or squaredcos_cap_v2, rising within 0 and 1"
        )
    return linear(times, first, last, root=name == "scaled_linear")


def _schedule(folder: Path) -> dict[str, Any]:
    """The scheduler's configuration beside the network; nothing where there is none."""
    files = _schedule_files(folder)
    return read_json(files[0]) if files else {}


def _schedule_files(folder: Path) -> list[Path]:
    places = (folder / SCHEDULE, folder.parent / "scheduler" / SCHEDULE)
    return [file for file in places if file.is_file()]


def _library() -> Any:
    try:
        import diffusers
    except ImportError as error:
        raise BadInput(f"a prior from a folder needs the package diffusers; {EXTRA}") from error
    return diffusers
