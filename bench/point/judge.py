"""An independent network whose features say whether two images show the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.point.recipe import Networked
from splitlab.contracts import ArchSpec, InputSpec
from splitlab.data import ImageSet, Splits
from splitlab.errors import SplitLabError
from splitlab.models import build
from splitlab.record.binomial import majority, no_better, wilson
from splitlab.record.evidence_doubts import JUDGE_AT_CHANCE
from splitlab.split import cut, split_points
from splitlab.storage import read_json, read_tensors, write_json, write_tensors
from splitlab.training import Progress, TrainRecipe, accuracy, train_classifier

RECIPE = TrainRecipe(epochs=3)


@dataclass(frozen=True)
class Judge:
    """The network, and how much it knows.

    Args:
        embed: images [B, 3, S, S] in [0, 1] -> features [B, D].
        accuracy: on the validation images, in %.
        images: how many these are.
        chance: what always answering with their largest class gets, in %.
    """

    embed: Callable[[Tensor], Tensor]
    accuracy: float
    images: int
    chance: float

    @property
    def context(self) -> dict[str, Any]:
        """What the metrics are told: the features, or why they tell nothing."""
        why = at_chance(self.accuracy, self.images, self.chance)
        return {"no_embed": why} if why else {"embed": self.embed}


def at_chance(accuracy: float, images: int, chance: float) -> str:
    """Why a judge is none; "" where its accuracy is clearly above the largest class's share.

    What a network at chance finds alike is not what shows the same; its rate would be a number of
    nothing.
    """
    if not no_better(accuracy, images, chance):
        return ""
    low, high = wilson(accuracy, images)
    return (
        f"{JUDGE_AT_CHANCE}: {accuracy:z.1f} % of {images} validation images, 95 % interval "
        f"{low:z.1f} to {high:z.1f} %, the largest class alone {chance:z.1f} %; it needs more "
        "training images of each class"
    )


def judge_of(config: Networked, splits: Splits, among: str = "train") -> dict[str, Any]:
    """JSON of all that a judge depends on."""
    other = {} if among == "train" else {"among": among}
    return {
        "arch": _arch(config, splits).model_dump(mode="json"),
        "recipe": RECIPE.model_dump(mode="json"),
        "seed": config.seed,
        "data": splits.hash,
        **other,
    }


def _arch(config: Networked, splits: Splits) -> ArchSpec:
    name = "tiny_vit" if config.model == "tiny_cnn" else "tiny_cnn"
    return ArchSpec(name=name, classes=len(splits.classes), input=InputSpec(size=config.size))


def prepare_judge(
    folder: Path,
    config: Networked,
    splits: Splits,
    *,
    among: str = "train",
    device: str = "auto",
    progress: Progress | None = None,
) -> Judge:
    """The judge; its features are those of its last split point, flattened.

    A small plain CNN (a small transformer where the victim is that CNN), of another architecture
    and another seed than the victim's. It has seen neither the victims' images nor any
    reconstruction.

    Args:
        among: the partition that it is trained on, as many of it as there are training images;
            another than these where they are what is to be recovered.
    """
    arch = _arch(config, splits)
    net = build(arch, seed=config.seed + 7919)
    kept = folder / "judge.safetensors"
    try:
        net.net.load_state_dict(read_tensors(kept))
    except (SplitLabError, RuntimeError):
        train_classifier(
            net,
            _learned_from(splits, among, config.seed),
            RECIPE,
            seed=config.seed + 7919,
            device=device,
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

    return Judge(embed, *_knows(folder / "judge.json", net, splits, device))


def _learned_from(splits: Splits, among: str, seed: int) -> ImageSet:
    images, most = splits.partitions[among], len(splits.train)
    return images if len(images) <= most else images.take(most, seed)


def _knows(kept: Path, net: nn.Module, splits: Splits, device: str) -> tuple[float, int, float]:
    """Its accuracy in %, on how many validation images, and chance; read back where kept."""
    try:
        facts = read_json(kept)
        return float(facts["accuracy"]), int(facts["images"]), float(facts["chance"])
    except (SplitLabError, KeyError, TypeError, ValueError):
        pass
    images = splits.validation
    right = accuracy(net, images, device) if len(images) else 0.0
    net.to("cpu")
    chance = majority(images.labels.tolist())
    write_json(kept, {"accuracy": right, "images": len(images), "chance": chance})
    return right, len(images), chance
