"""An independent network whose features say whether two images show the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from bench.recipe import SweepConfig
from splitlab.contracts import ArchSpec, InputSpec
from splitlab.data import Splits
from splitlab.errors import SplitLabError
from splitlab.models import build
from splitlab.split import cut, split_points
from splitlab.storage import read_tensors, write_tensors
from splitlab.training import Progress, TrainRecipe, train_classifier

RECIPE = TrainRecipe(epochs=3)


def prepare_judge(
    folder: Path, config: SweepConfig, splits: Splits, progress: Progress | None = None
) -> Callable[[Tensor], Tensor]:
    """Images [B, 3, S, S] in [0, 1] -> features of the judge's last split point, flattened.

    A small plain CNN (a small transformer where the victim is that CNN), of another architecture
    and another seed than the victim's, trained on the training images; it
    has seen neither the victims' images nor any reconstruction.
    """
    name = "tiny_vit" if config.model == "tiny_cnn" else "tiny_cnn"
    arch = ArchSpec(name=name, classes=len(splits.classes), input=InputSpec(size=config.size))
    net = build(arch, seed=config.seed + 7919)
    kept = folder / "judge.safetensors"
    try:
        net.net.load_state_dict(read_tensors(kept))
    except (SplitLabError, RuntimeError):
        train_classifier(
            net,
            splits,
            RECIPE,
            seed=config.seed + 7919,
            device=config.device,
            progress=progress,
            name="judge",
        )
        write_tensors(kept, net.net.state_dict())
    net.to("cpu").eval()
    last = split_points(net, arch.input.shape)[-1]
    head = cut(net, last.name, None, arch.input.shape).head

    def embed(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return head(images.cpu()).flatten(1)

    return embed
