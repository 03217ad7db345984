"""A folder of synthetic images: an ordinary imagefolder that says where it comes from.

`FOLDER/<class>/<batch>-<row>.png`, and `FOLDER/provenance.json`, in which a batch stands once all
of its images are there, with the seconds that its making took; what it lacks is made when the run
is started again.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import nn

from adversary.contract.threat import AuxImages, ThreatModel
from adversary.synthesis.settings import SynthesisSettings
from adversary.synthesis.synthesis import Known, MadeBatch, synthesise
from splitlab.data import ImageSet, read_image
from splitlab.errors import BadInput, Corrupt
from splitlab.machine import environment
from splitlab.storage import hash_tensors, read_json, write_bytes, write_json
from splitlab.training import Progress, Silent, Work

FORMAT = "splitlab/synthetic/1"
NAME = "provenance.json"
WIDTH = 4
"""Digits of a class's number."""
HELD_OUT = 16
"""Images to choose settings by, where there are several times as many to learn from."""
WHOLE = "head, body and tail"


class MadeImages(NamedTuple):
    """Synthetic images, and what is told of their making; see `making`."""

    images: ImageSet
    making: dict[str, Any]


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
    path, content = folder / NAME, content_of(folder, known, settings, seed)
    content["layer_hashes"] = _layers(known.modules)
    batches = -(-count // settings.batch_size)
    steps = settings.half_steps + settings.steps
    each = settings.batch_size * steps
    done = sum(str(number) in content["batches"] for number in range(batches))
    work = (progress or Silent()).task("synthesis", batches * each, done * each)
    try:
        for number in range(batches):
            if str(number) not in content["batches"]:
                made = make_batch(
                    known, settings, seed=seed, number=number, device=device, work=work
                )
                _save(folder, number, made)
                content["batches"][str(number)] = made.facts
                write_json(path, {**content, "environment": environment()})
    finally:
        work.close()
    return content


def content_of(
    folder: Path, known: Known, settings: SynthesisSettings, seed: int
) -> dict[str, Any]:
    """The provenance of `folder`, of no batch where it has none yet; nothing is written.

    Raises:
        BadInput: `folder` holds images of another network, seed or settings.
        Corrupt: its provenance is damaged.
    """
    about = {
        "format": FORMAT,
        "kind": "synthetic",
        "source": "batch norm statistics" + (" and classes" if settings.classes else ""),
        "network": _network(known.modules),
        "layers": WHOLE if known.whole else "head",
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
    return content


def make_batch(
    known: Known,
    settings: SynthesisSettings,
    *,
    seed: int,
    number: int,
    device: torch.device,
    work: Work | None = None,
) -> MadeBatch:
    """As `synthesise`; the seconds that it took are among its facts."""
    started = perf_counter()
    made = synthesise(known, settings, seed=seed, number=number, device=device, work=work)
    seconds = round(perf_counter() - started, 3)
    return made._replace(facts={**made.facts, "seconds": seconds})


def making(content: Mapping[str, Any], count: int) -> dict[str, Any]:
    """What a provenance tells of the making of its first `count` images, JSON values.

    `seconds`: of all their batches, over all sittings; what a kill cut short is not among them. It
    is left out where a batch is from before its time was kept. `mean_error`, `variance_error`: the
    worst and the median over batch norms and batches, in the units of `BatchNormGap.errors`; left
    out where no statistics were matched.
    """
    batches = -(-count // content["settings"]["batch_size"])
    told = [content["batches"].get(str(number), {}) for number in range(batches)]
    seconds = [facts["seconds"] for facts in told if "seconds" in facts]
    found: dict[str, Any] = {}
    if seconds and len(seconds) == batches:
        found["seconds"] = round(sum(seconds), 3)
    for name in ("mean_error", "variance_error"):
        if errors := [error for facts in told for error in facts.get(name, ())]:
            found[name] = {"worst": max(errors), "median": round(median(errors), 4)}
    return found


def load_images(folder: Path, size: int, count: int, remedy: str = "make more") -> ImageSet:
    """The first `count` images of a folder that `make_images` filled.

    Raises:
        BadInput: it has fewer; `remedy` says what to do.
    """
    files = sorted(folder.glob("*/*.png"), key=lambda path: path.name)[:count]
    if len(files) < count:
        raise BadInput(f"{folder} has {len(files)} images, {count} are wanted; {remedy}")
    pixels = torch.stack([read_image(path, size)[0] for path in files])
    labels = torch.tensor([int(path.parent.name) for path in files])
    classes = tuple(f"{number:0{WIDTH}d}" for number in range(int(labels.max()) + 1))
    return ImageSet(pixels, labels, classes, torch.arange(count), None, "synthetic")


def split_images(made: MadeImages, learn: int, held_out: int, layers: str) -> AuxImages:
    """Synthetic images as an adversary's own: the first to learn from, then those held out.

    Args:
        layers: whose batch norms they are made of, "head" or "network".
    """
    images = made.images.subset(range(learn))
    validation = made.images.subset(range(learn, learn + held_out))
    return AuxImages(images, validation, "synthetic", layers, made.making)


def own_images(folder: Path, threat: ThreatModel) -> ThreatModel:
    """The threat model with the images of `folder` in place of its own images and queries.

    The last `HELD_OUT` are to choose settings by, or an eighth where that is less.

    Raises:
        MissingKnowledge: no head, or no size of the input.
        BadInput: no folder of `make_images`, no finished batch, or images of another size or of
            another network than the granted head's.
        Corrupt: its provenance is damaged.
    """
    who, path = "--images", folder / NAME
    wanted, head = threat.need("input", who).size, threat.need("head", who)
    if not path.exists():
        raise BadInput(
            f"{folder}: it has no {NAME}; give a folder that `adversary synthesise` wrote"
        )
    remedy = f"remove {folder} and make the images again"
    content = read_json(path, remedy)
    try:
        size, layers, known = content["size"], content["layers"], content.get("layer_hashes")
        count = len(content["batches"]) * content["settings"]["batch_size"]
    except (KeyError, TypeError) as error:
        raise Corrupt(path, f"it lacks {error}", remedy) from error
    if content.get("format") != FORMAT:
        raise Corrupt(path, f"is {content.get('format')!r}, {FORMAT!r} was wanted", remedy)
    if size != wanted:
        raise BadInput(
            f"{folder}: its images have {size} pixels a side, the grant's network takes {wanted}; "
            "make images with this grant"
        )
    if known is None:  # of a folder from before they were recorded
        fits = content.get("network") in (_network([head]), _network(Known.of(threat).modules))
    else:  # of the whole network they serve wherever it is cut, of a shorter head a longer one
        own = set(_layers([head]))
        fits = bool(own) and (own <= set(known) or set(known) <= own)
    if not fits:
        raise BadInput(
            f"{folder}: its images are made of another network than the granted head; make "
            "images with this grant"
        )
    if not count:
        raise BadInput(f"{folder}: no batch of images is finished; run `adversary synthesise`")
    held_out = min(HELD_OUT, count // 8)
    made = MadeImages(load_images(folder, size, count, remedy), making(content, count))
    origin = "network" if layers == WHOLE else "head"
    return replace(threat, aux=split_images(made, count - held_out, held_out, origin), observe=None)


def _network(modules: Sequence[nn.Module]) -> str:
    """A hash of all that is in them."""
    return hash_tensors(
        {f"{i}.{k}": v for i, m in enumerate(modules) for k, v in m.state_dict().items()}
    )


def _layers(modules: Sequence[nn.Module]) -> list[str]:
    """A hash of each layer that has weights or statistics."""
    return [
        hash_tensors(dict(layer.state_dict()))
        for module in modules
        for layer in module.modules()
        if not any(layer.children()) and layer.state_dict()
    ]


def _save(folder: Path, number: int, batch: MadeBatch) -> None:
    pixels = batch.images.mul(255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    for row, (image, label) in enumerate(zip(pixels, batch.classes.tolist(), strict=True)):
        file = io.BytesIO()
        Image.fromarray(image).save(file, format="PNG")
        name = f"{number:05d}-{row:05d}.png"
        write_bytes(folder / f"{label:0{WIDTH}d}" / name, file.getvalue())
