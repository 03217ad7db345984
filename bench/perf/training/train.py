"""`bench perf train`: images per second of our loop against a plain DataLoader loop, in one run.

Both train the same network from the same weights on the same images with the same augmentation
(shift by up to 4 pixels, flip) and optimizer, in turns, so that whatever else the machine does
meets both. The rival is what a tutorial writes: Pillow images, one torchvision transform after
another for each of them, a DataLoader, FP32.

A loop can only be told from another where it is a fair share of the work. On the CPU the default
network is therefore a tiny one; the arithmetic of a ResNet-20 fills two cores, and what is left of
the gain is the layout of its tensors (1.15 to 1.25 where it was measured).
"""

from __future__ import annotations

import copy
import statistics
import time
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from bench.perf.verdict import judged, wait
from splitlab.contracts import ArchSpec
from splitlab.data import ImageSet, load_splits
from splitlab.models import build
from splitlab.training import LONG, choose_device, train_classifier

LIMITS = {"cpu": 1.3, "cuda": 3.0}
"""Least ratio of ours to the rival's images per second."""
MODELS = {"cpu": "tiny_cnn", "cuda": "resnet20"}
IMAGES = {"cpu": 2_000, "cuda": 4_000}
"""Images of a round, a few seconds' work."""
BATCH = {"cpu": 32, "cuda": 128}


def perf_train(
    device: torch.device | str = "auto",
    model: str | None = None,
    *,
    rounds: int = 3,
    images: int | None = None,
    batch_size: int | None = None,
    workers: int = 0,
) -> dict[str, Any]:
    """Train in turns, `rounds` times each after a warm-up, one epoch a turn.

    `ours` and `rival` are medians over the rounds, in images per second.

    Args:
        model: any name of `splitlab.models`; None for the device's own, as are `images` and
            `batch_size`.
        images: photo-patches crops an epoch, at most 4,000.
        workers: processes of the rival's DataLoader; 0, its default, is also the faster choice on
            two cores, where workers take the cores from the network.
    """
    device = choose_device(device)
    kind = device.type if device.type in LIMITS else "cpu"
    model, batch_size = model or MODELS[kind], batch_size or BATCH[kind]
    count = images or IMAGES[kind]
    data = load_splits("photo-patches", limits={"train": count}).train
    arch = ArchSpec(name=model, classes=len(data.classes))
    net = build(arch, seed=0)
    rival = _Rival(data, batch_size, workers)
    ours_speed, rival_speed = [], []
    for turn in range(rounds + 1):
        ours = _ours(copy.deepcopy(net), data, batch_size, device)
        theirs = rival.epoch(copy.deepcopy(net), device)
        if turn:
            ours_speed.append(ours)
            rival_speed.append(theirs)
    ratios = [a / b for a, b in zip(ours_speed, rival_speed, strict=True)]
    found = {
        "device": device.type,
        "model": model,
        "images": len(data),
        "batch_size": batch_size,
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "workers": workers,
        "ours": statistics.median(ours_speed),
        "rival": statistics.median(rival_speed),
    }
    return judged(found, statistics.median(ratios), LIMITS[kind])


def _ours(net: nn.Module, data: ImageSet, batch_size: int, device: torch.device) -> float:
    recipe = LONG.model_copy(update={"epochs": 1, "batch_size": batch_size})
    started = time.perf_counter()
    train_classifier(net, data, recipe, device=device)
    wait(device)
    return len(data) / (time.perf_counter() - started)


class _Pictures(Dataset[tuple[Tensor, int]]):
    """Pillow images and their labels, transformed one at a time."""

    def __init__(self, data: ImageSet) -> None:
        arrays = data.images.permute(0, 2, 3, 1).contiguous().numpy()
        self.pictures = [Image.fromarray(array) for array in arrays]
        self.labels = data.labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(data.size, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.pictures[index]), self.labels[index]


class _Rival:
    """The plain loop; the pictures are made once, before the clock starts."""

    def __init__(self, data: ImageSet, batch_size: int, workers: int) -> None:
        self.batch_size, self.workers = batch_size, workers
        self.pictures = _Pictures(data)

    def epoch(self, net: nn.Module, device: torch.device) -> float:
        """Images per second of one epoch."""
        net.to(device).train()
        optimizer = torch.optim.SGD(
            net.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4
        )
        loader = DataLoader(self.pictures, self.batch_size, shuffle=True, num_workers=self.workers)
        started = time.perf_counter()
        for images, labels in loader:
            loss = F.cross_entropy(net(images.to(device)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        wait(device)
        return len(self.pictures) / (time.perf_counter() - started)
