"""Train a classifier, with the hooks of its defences: the one path for all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from splitlab.contracts import Lesson, Phase, Trace, Trainer
from splitlab.data import ImageSet, Splits
from splitlab.errors import BadInput
from splitlab.randomness import FreeDraw, generator
from splitlab.training.accuracy import accuracy
from splitlab.training.device import choose_device
from splitlab.training.fit import History, Loss, fit
from splitlab.training.hooks import Protection, freeze, protecting, protections, watching
from splitlab.training.objective import objective
from splitlab.training.phases import Course
from splitlab.training.progress import Progress
from splitlab.training.recipe import TrainRecipe
from splitlab.training.source import Batch
from splitlab.training.state import State


def train_classifier(
    net: nn.Module,
    data: Splits | ImageSet,
    recipe: TrainRecipe | None = None,
    *,
    seed: int = 0,
    device: torch.device | str = "auto",
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    protect: Protection | tuple[Any, ...] | Sequence[Protection] | None = None,
    lesson: Lesson | None = None,
    frozen: Collection[str] = (),
    resting: Collection[str] = (),
    name: str = "victim",
    amp: bool = True,
) -> History:
    """Train `net` (images [B, 3, S, S] in [0, 1] -> logits) in place; it ends in eval mode.

    The original modules are trained, so that stochastic layers stay stochastic.

    Args:
        data: the train partition is used, or the images as they are.
        protect: (split point, protector[, draw]): the rest of the network learns on z'. Several
            act in their order where they share a point.
        lesson: a defence that has a part in training, and its task: it adds modules, watches
            activations, brings terms of the objective, phases, and hands to train with.
        frozen: names in `net.state_dict()` of what is not trained; a batch norm whose statistics
            are among them stays in eval mode.
        resting: paths of modules that stay in eval mode, each without those inside it: a frozen
            head's, whose dropout would change what the rest learns on.
        checkpoint: continued from when it is there; phases after the first add their number.

    Returns:
        Losses of all epochs under "net"; images and seconds of all sittings; the defence's facts.

    Raises:
        NotCuttable: what is protected, watched or frozen is no module of the network.
        BadInput: a share that ends the training, and several phases or other images to train on.
        BadInput, Mismatch, Corrupt: as `fit` and `Course`.
    """
    recipe = recipe or TrainRecipe()
    images = data.train if isinstance(data, Splits) else data
    device = choose_device(device)
    net.to(device).train()
    freeze(net, frozen, resting)
    rng = torch.Generator()
    own = _own_modules(lesson, seed)
    beside: dict[str, nn.Module] = {}
    seen: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        for watched in lesson.defense.watches(lesson.task) if lesson else ():
            hooks.callback(watching(net, watched, seen).remove)
        for number, (point, protector, draw) in enumerate(protections(protect)):
            beside[f"protector{number or ''}"] = protector
            hooks.callback(protecting(net, point, protector, draw or FreeDraw(rng)).remove)
        beside |= own
        for module in beside.values():
            module.to(device).train()
        phases = lesson.defense.phases(lesson.task) if lesson else None
        if recipe.until is not None:
            _refuse_phases(recipe.until, phases or [])
        course = Course(net, beside, phases or [Phase("", recipe.epochs)], recipe, images)
        trainer = _trainer(net, course, lesson)
        memories = {"trainer": trainer.memory} if trainer and trainer.memory else {}

        def step(state: State, batch: Batch) -> dict[str, Loss]:
            logits = state.modules["net"](batch.images)
            labels = batch.targets(logits.shape[1])
            term = None
            if lesson is not None:
                trace = Trace(batch.images, labels, logits, dict(seen), own, batch.epoch)
                term = lesson.defense.objective(trace)
            return {"net": objective(logits, labels, recipe.label_smoothing, term)}

        total = History({"net": []})
        first = 0
        for number, phase in enumerate(course.phases):
            optimizer = trainer.optimizer if trainer else None
            state = course.begin(number, trainer.net if trainer else net, optimizer, rng)
            path = checkpoint if trainer is None or trainer.resumes else None
            if path is not None and number:
                path = path.with_name(f"{path.name}.{number}")
            done = fit(
                step,
                dataclasses.replace(state, memories=memories),
                course.sources[number],
                epochs=phase.epochs,
                batch_size=recipe.batch_size,
                seed=seed,
                first=first,
                until=_until(net, images, recipe, device),
                device=device,
                augment=recipe.augment,
                sampler=phase.sampler or (trainer.sampler if trainer else None),
                checkpoint=path,
                progress=progress,
                name=f"{name}: {phase.name}" if phase.name else name,
                amp=amp,
                settings=recipe.model_dump(mode="json"),
            )
            first += phase.epochs
            losses = total.losses["net"] + done.losses.get("net", [])
            total = History(
                {"net": losses},
                total.images + done.images,
                total.seconds + done.seconds,
                phases=(*total.phases, done.epochs),
            )
    for module in (net, *beside.values()):
        module.requires_grad_(True).eval()
    return dataclasses.replace(total, facts=dict(trainer.facts()) if trainer else {})


def _refuse_phases(until: float, phases: Sequence[Phase]) -> None:
    """
    Raises:
        BadInput: a share that ends the training has no meaning for what a defence plans.
    """
    if len(phases) > 1 or any(phase.images is not None for phase in phases):
        planned = ", ".join(repr(phase.name) for phase in phases)
        raise BadInput(
            f"recipe until={until:g}: a defence trains in phases of its own ({planned}), each for "
            "a number of epochs; give until=none and epochs"
        )


def _until(
    net: nn.Module, images: ImageSet, recipe: TrainRecipe, device: torch.device
) -> tuple[float, Callable[[], float]] | None:
    """The recipe's share, and what measures it: at rest, every module then in the mode it was in.

    What protects the network acts as it does in training.
    """
    if recipe.until is None:
        return None

    def reached() -> float:
        modes = {module: module.training for module in net.modules()}
        try:
            return accuracy(net, images, device) / 100
        finally:
            for module, mode in modes.items():
                module.training = mode

    return recipe.until, reached


def _own_modules(lesson: Lesson | None, seed: int) -> dict[str, nn.Module]:
    """What the defence adds for training only, its weights drawn under `seed`."""
    if lesson is None:
        return {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator(seed, "modules of a defence").initial_seed())
        return dict(lesson.defense.modules(lesson.task))


def _trainer(net: nn.Module, course: Course, lesson: Lesson | None) -> Trainer | None:
    """The hands of the defence on the optimiser that runs through; None where none does."""
    optimizer = course.optimizer()
    if optimizer is None:
        return None
    given = Trainer(net, optimizer)
    return given if lesson is None else lesson.defense.train_with(net, optimizer, lesson.task)
