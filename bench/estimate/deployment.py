"""What `bench train` will take."""

from __future__ import annotations

from bench.estimate.deploying import written_seconds
from bench.estimate.points import image_seconds
from bench.estimate.training import classifier_seconds, defended_seconds
from bench.point.recipe import Networked, SweepConfig
from bench.point.victim import head_tensors, learns
from defenses import Stack
from defenses.parts.prepare import Order
from splitlab.contracts import ArchSpec
from splitlab.data import Splits
from splitlab.estimating import Clock, Forecast, memory_now
from splitlab.models import build
from splitlab.randomness import Secret
from splitlab.split import cut
from splitlab.training import choose_device


def deployment_estimate(
    config: SweepConfig,
    stack: Stack,
    arch: ArchSpec,
    splits: Splits,
    *,
    trains: bool,
) -> Forecast:
    """Of training one network and writing its halves, cut at `config.splits`.

    Args:
        trains: whether an undefended network has still to learn.
    """
    meter, device = Clock(), str(choose_device(config.device))
    net, images = build(arch, seed=0).eval(), splits.train
    rows = min(config.train_images, len(images))
    seconds: dict[str, float] = {}
    missing: list[str] = []
    if learns(config, stack):
        taken = defended_seconds(
            stack, order_of(config, arch, config.splits, splits, config.device), meter
        )
        seconds["training with the defence"] = taken or 0.0
        missing += [f"training with {config.defense}"] if taken is None else []
    elif trains:
        frozen = head_tensors(net, config.freeze, arch) if config.freeze else ()
        own = build(arch, seed=0)
        seconds["training"] = classifier_seconds(
            own, images, rows, config.victim, meter, device, frozen
        )
    cutting = meter.seconds(lambda: cut(net, config.splits, config.tail_start, arch.input.shape))
    image = image_seconds(net, splits.validation, meter)
    validation = len(splits.validation)
    times = 1 if learns(config, stack) else 2  # the network's own accuracy, and the halves'
    seconds["the deployment"] = written_seconds(cutting, image, times * validation)
    memory = memory_now() + 5 * (rows + validation) * 3 * config.size**2
    return Forecast.of_stages(1, seconds, memory, missing, "deployments")


def order_of(
    config: Networked, arch: ArchSpec, head_end: str, splits: Splits, device: str
) -> Order:
    """What `prepare_halves` would order, with a blank secret."""
    return Order(
        arch=arch,
        head_end=head_end,
        tail_start=config.tail_start,
        images=splits.train,
        recipe=config.victim,
        seed=config.seed,
        secret=Secret(bytes(32)),
        device=device,
        train_with_defense=config.train_with_defense,
    )
