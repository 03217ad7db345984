"""Images that DCI makes for itself of a network's batch norms (Dong et al., equation 4)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from adversary.contract.workplace import Workplace
from adversary.synthesis.folder import load_images, make_batch, make_images, making
from adversary.synthesis.settings import SynthesisSettings
from adversary.synthesis.synthesis import Known
from splitlab.storage import canonical_json, hash_tensors, lock, sha256


def made_images(
    known: Known, settings: SynthesisSettings, count: int, seed: int, work: Workplace
) -> tuple[Tensor, dict[str, Any]]:
    """uint8 [count, 3, S, S], and what is told of their making; see `making`.

    Args:
        work: beside its checkpoint they are kept, batch by batch; without one, nowhere.

    Raises:
        BadInput: there is no batch norm.
    """
    if work.checkpoint is None:
        return _unkept(known, settings, count, seed, work)
    text = canonical_json({**settings.model_dump(mode="json"), "seed": seed})
    layers = [hash_tensors(dict(module.state_dict())) for module in known.modules]
    folder = work.checkpoint.with_name(f"images-{sha256(text, *map(str.encode, layers))[:12]}")
    with lock(folder):
        content = make_images(
            folder,
            known,
            settings,
            count=count,
            seed=seed,
            device=work.place,
            progress=work.progress,
        )
    return load_images(folder, known.input.size, count, "remove it").images, making(content, count)


def _unkept(
    known: Known, settings: SynthesisSettings, count: int, seed: int, work: Workplace
) -> tuple[Tensor, dict[str, Any]]:
    batches = -(-count // settings.batch_size)
    steps = settings.half_steps + settings.steps
    task = work.progress.task("synthesis", batches * settings.batch_size * steps)
    made = [
        make_batch(known, settings, seed=seed, number=number, device=work.place, work=task)
        for number in range(batches)
    ]
    task.close()
    images = torch.cat([batch.images for batch in made])[:count].mul(255).round().byte()
    facts = {str(number): batch.facts for number, batch in enumerate(made)}
    return images, making({"settings": settings.model_dump(), "batches": facts}, count)
