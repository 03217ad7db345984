"""A folder of synthetic images: an ordinary imagefolder that says where it comes from.

`FOLDER/<class>/<batch>-<row>.png`, and `FOLDER/provenance.json`, in which a batch stands once all
of its images are there; what it lacks is made when the run is started again.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from adversary.synthesis import Batch, Known, synthesise
from adversary.synthesis_settings import SynthesisSettings
from splitlab.data import ImageSet, read_image
from splitlab.errors import BadInput
from splitlab.machine import environment
from splitlab.storage import hash_tensors, read_json, write_bytes, write_json
from splitlab.training import Progress, Silent

FORMAT = "splitlab/synthetic/1"
NAME = "provenance.json"
WIDTH = 4
"""Digits of a class's number."""


def make_images(
    folder: Path,
    known: Known,
    settings: SynthesisSettings,
    *,
    count: int,
    seed: int,
    device: torch.device,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """At least `count` images in whole batches; the provenance as it is on disk.

    Raises:
        BadInput: `folder` holds images of another network, seed or settings; or see `synthesise`.
        Corrupt: its provenance is damaged.
    """
    about = {
        "format": FORMAT,
        "kind": "synthetic",
        "source": "batch norm statistics" + (" and classes" if settings.classes else ""),
        "network": hash_tensors(
            {f"{i}.{k}": v for i, m in enumerate(known.modules) for k, v in m.state_dict().items()}
        ),
        "layers": "head, body and tail" if known.whole else "head",
        "size": known.input.size,
        "settings": settings.model_dump(mode="json"),
        "seed": seed,
    }
    path = folder / NAME
    content = read_json(path, f"remove {folder} to start again") if path.exists() else None
    content = content or {**about, "batches": {}}
    if differing := sorted(k for k in about if content.get(k) != about[k]):
        raise BadInput(
            f"{folder} holds synthetic images with other {', '.join(differing)}; choose another "
            "--out"
        )
    batches = -(-count // settings.batch_size)
    steps = settings.half_steps + settings.steps
    each = settings.batch_size * steps
    done = sum(str(number) in content["batches"] for number in range(batches))
    work = (progress or Silent()).task("synthesis", batches * each, done * each)
    try:
        for number in range(batches):
            if str(number) not in content["batches"]:
                made = synthesise(
                    known, settings, seed=seed, number=number, device=device, work=work
                )
                _save(folder, number, made)
                content["batches"][str(number)] = made.facts
                write_json(path, {**content, "environment": environment()})
    finally:
        work.close()
    return content


def load_images(folder: Path, size: int, count: int) -> ImageSet:
    """The first `count` images of a folder that `make_images` filled.

    Raises:
        BadInput: it has fewer.
    """
    files = sorted(folder.glob("*/*.png"), key=lambda path: path.name)[:count]
    if len(files) < count:
        raise BadInput(f"{folder} has {len(files)} images, {count} are wanted; make more")
    pixels = torch.stack([read_image(path, size)[0] for path in files])
    labels = torch.tensor([int(path.parent.name) for path in files])
    classes = tuple(f"{number:0{WIDTH}d}" for number in range(int(labels.max()) + 1))
    return ImageSet(pixels, labels, classes, torch.arange(count), None, "synthetic")


def _save(folder: Path, number: int, batch: Batch) -> None:
    pixels = batch.images.mul(255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    for row, (image, label) in enumerate(zip(pixels, batch.classes.tolist(), strict=True)):
        file = io.BytesIO()
        Image.fromarray(image).save(file, format="PNG")
        name = f"{number:05d}-{row:05d}.png"
        write_bytes(folder / f"{label:0{WIDTH}d}" / name, file.getvalue())
