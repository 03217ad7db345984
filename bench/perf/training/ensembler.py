"""`bench perf ensembler`: N networks trained together and served together, against one by one.

Serving is measured in `perf_serving`. Training, here, is Ensembler's stage one: N networks with
noise of their own, all together (several processes on a CPU, one `vmap` on a GPU) against one after
another with all of the machine, in turns, so that whatever else the machine does meets both.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from typing import Any, Literal, get_args

import torch

from bench.perf.serving.bodies import FULL, QUICK, fair, perf_serving
from bench.perf.verdict import judged, wait
from defenses import parse
from defenses.parts.prepare import Order, StageOneMode
from defenses.parts.stage_one.together import train_together
from splitlab.contracts import ArchSpec
from splitlab.data import load_splits
from splitlab.errors import BadInput
from splitlab.randomness import Secret
from splitlab.training import TrainRecipe, choose_device

SpeedPart = Literal["serving", "training", "both"]
WAYS: dict[str, StageOneMode] = {"cpu": "processes", "cuda": "batched"}
LIMITS = {"cpu": 1.0, "cuda": 2.0}
"""Least speed-up over one after another."""
MODELS = {"cpu": ("resnet20", "relu"), "cuda": ("resnet18_cifar", "maxpool")}
"""Network and where its head ends; the tail is the classifier after `TAIL_START`."""
TAIL_START = "avgpool"
IMAGES = {"cpu": 2_000, "cuda": 4_000}
BATCH = {"cpu": 32, "cuda": 128}
NOISE = "gaussian:level=0.1,draw=fixed"
WARM_UP = 128  # images; the first steps of a process and of a device are not what is measured


def perf_ensembler(
    part: str,
    device: str,
    bodies: int,
    chosen: int,
    *,
    how: str | None = None,
    quick: bool = False,
) -> dict[str, dict[str, Any]]:
    """The measurements that are wanted, by name.

    Raises:
        BadInput: no such part or way, or P above N.
    """
    if part not in get_args(SpeedPart):
        raise BadInput(f"--part {part!r}: give {', '.join(get_args(SpeedPart))}")
    way = next((each for each in WAYS.values() if each == how), None)
    if how != way:
        raise BadInput(f"--how {how!r}: give {' or '.join(WAYS.values())}")
    if chosen > bodies:
        raise BadInput(f"--chosen {chosen} is above --bodies {bodies}; choose at most all")
    found: dict[str, dict[str, Any]] = {}
    if part != "training":
        found["serving"] = perf_serving(bodies, chosen, fair(QUICK if quick else FULL)).as_dict()
    if part != "serving":
        sizes = {"images": 1_000, "rounds": 1} if quick else {}
        found["training"] = perf_stage_one(bodies, device, way, **sizes)
    return found


def perf_stage_one(
    networks: int,
    device: torch.device | str = "auto",
    how: StageOneMode | None = None,
    *,
    images: int | None = None,
    rounds: int = 3,
) -> dict[str, Any]:
    """Train `networks` networks for one epoch, both ways, `rounds` times after a warm-up.

    Seconds are medians over the rounds, for all networks.

    Args:
        how: "processes" or "batched"; None for the device's own, as are `images`.
        images: photo-patches crops an epoch, at most 4,000.
    """
    device = choose_device(device)
    kind = device.type if device.type in LIMITS else "cpu"
    (model, head_end), way = MODELS[kind], how or WAYS[kind]
    data = load_splits("photo-patches", limits={"train": images or IMAGES[kind]}).train
    order = Order(
        arch=ArchSpec(name=model, classes=len(data.classes)),
        head_end=head_end,
        tail_start=TAIL_START,
        images=data,
        recipe=TrainRecipe(epochs=1, batch_size=BATCH[kind]),
        seed=0,
        secret=Secret.new(),
        device=device.type,
    )
    stack = parse(NOISE)
    found: dict[StageOneMode, list[float]] = {way: [], "one after another": []}
    warm = replace(order, images=data.take(min(WARM_UP, len(data)), 0))
    for each in found:
        train_together(warm, stack, networks if each == "batched" else 1, each)
    for _ in range(rounds):
        for each, seconds in found.items():
            started = time.perf_counter()
            train_together(order, stack, networks, each)
            wait(device)
            seconds.append(time.perf_counter() - started)
    together, single = found.values()
    speed = {
        "device": device.type,
        "model": model,
        "networks": networks,
        "images": len(data),
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "how": way,
        "together_seconds": statistics.median(together),
        "one_after_another_seconds": statistics.median(single),
    }
    ratio = statistics.median(a / b for a, b in zip(single, together, strict=True))
    return judged(speed, ratio, LIMITS[kind])
