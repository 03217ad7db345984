"""Train a classifier, with a defence's noise and penalties where they act; measure its accuracy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from splitlab.contracts import Phase
from splitlab.data import ImageSet, Splits
from splitlab.errors import BadInput, NotCuttable
from splitlab.randomness import Draw, FreeDraw
from splitlab.training.device import choose_device
from splitlab.training.fit import History, Loss, fit
from splitlab.training.objective import objective
from splitlab.training.progress import Progress
from splitlab.training.recipe import TrainRecipe
from splitlab.training.source import Batch
from splitlab.training.state import State

Penalty = Callable[[Mapping[str, Tensor]], Tensor | None]


class Protection(NamedTuple):
    """A defence's protectors, acting at a split point while the network is trained.

    Args:
        point: name of the split point, which must be a module (a named block); the end of the
            head for what acts on z, that of the body for what acts on its output.
        protector: one `Protector`, or a `ModuleList` of them in order; trained along where it has
            parameters.
        draw: fresh randomness; None for the loop's own, which a resumed run repeats.
    """

    point: str
    protector: nn.Module
    draw: Draw | None = None


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
    watches: Sequence[str] = (),
    penalty: Penalty | None = None,
    phases: Sequence[Phase] | None = None,
    frozen: Collection[str] = (),
    resting: Collection[str] = (),
    name: str = "victim",
    amp: bool = True,
) -> History:
    """Train `net` (images [B, 3, S, S] in [0, 1] -> logits) in place; it ends in eval mode.

    The original modules are trained, so that stochastic layers stay stochastic. Cross entropy.

    Args:
        data: the train partition is used, or the images as they are.
        protect: (split point, protector[, draw]): the rest of the network learns on z'. Several
            act in their order where they share a point.
        watches: names of modules whose outputs `penalty` is handed, before any protection.
        penalty: {"images", "labels", "logits" and each of `watches`: tensor} -> a term added to
            the loss, or None.
        phases: a defence's own schedule, one optimizer each, in place of the recipe's.
        frozen: names in `net.state_dict()` of what is not trained; a batch norm whose statistics
            are among them stays in eval mode.
        resting: paths of modules that stay in eval mode, each without those inside it: a frozen
            head's, whose dropout would change what the rest learns on.
        checkpoint: continued from when it is there; phases after the first add their number.

    Returns:
        Losses of all epochs under "net"; images and seconds of all sittings.

    Raises:
        NotCuttable: a name in `protect` or `watches` is no module of the network.
        BadInput, Mismatch, Corrupt: as `fit`.
    """
    recipe = recipe or TrainRecipe()
    images = data.train if isinstance(data, Splits) else data
    device = choose_device(device)
    net.to(device).train()
    _freeze(net, frozen, resting)
    rng = torch.Generator()
    modules: dict[str, nn.Module] = {"net": net}
    seen: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        for watched in watches:
            hooks.callback(_watch(net, watched, seen).remove)
        for number, (point, protector, draw) in enumerate(_protections(protect)):
            modules[f"protector{number or ''}"] = protector.to(device).train()
            hooks.callback(_protect(net, point, protector, draw or FreeDraw(rng)).remove)

        def step(state: State, batch: Batch) -> dict[str, Loss]:
            logits = state.modules["net"](batch.images)
            trace = {"images": batch.images, "labels": batch.labels, "logits": logits, **seen}
            term = penalty(trace) if penalty is not None else None
            return {
                "net": objective(
                    logits, batch.targets(logits.shape[1]), recipe.label_smoothing, term
                )
            }

        total = History({"net": []})
        for number, phase in enumerate(phases or [None]):
            state, epochs = _prepare(phase, modules, recipe, len(images), rng)
            path = checkpoint
            if checkpoint is not None and number:
                path = checkpoint.with_name(f"{checkpoint.name}.{number}")
            done = fit(
                step,
                state,
                images,
                epochs=epochs,
                batch_size=recipe.batch_size,
                seed=seed + number,
                device=device,
                augment=recipe.augment,
                sampler=phase.sampler if phase else None,
                checkpoint=path,
                progress=progress,
                name=f"{name}: {phase.name}" if phase else name,
                amp=amp,
            )
            losses = total.losses["net"] + done.losses.get("net", [])
            total = History(
                {"net": losses}, total.images + done.images, total.seconds + done.seconds
            )
    for module in modules.values():
        module.requires_grad_(True).eval()
    return total


def accuracy(
    net: nn.Module,
    images: ImageSet,
    device: torch.device | str = "cpu",
    batch_size: int = 256,
) -> float:
    """Share of `images` whose largest logit is their label's, in %, in eval mode.

    The network is moved to `device` and left in the mode it came in.

    Raises:
        BadInput: no images, or answers that are no numbers.
    """
    if not len(images):
        raise BadInput("accuracy of no images; give at least one")
    device = choose_device(device)
    training = net.training
    net.to(device).eval()
    hits = 0
    with torch.inference_mode():
        for pixels, labels in zip(
            images.images.split(batch_size), images.labels.split(batch_size), strict=True
        ):
            logits = net(pixels.to(device).float().div_(255))
            require_numbers(logits)
            hits += int((logits.argmax(1).cpu() == labels).sum())
    net.train(training)
    return 100.0 * hits / len(images)


def require_numbers(logits: Tensor) -> None:
    """
    Args:
        logits: [B, classes].

    Raises:
        BadInput: some are NaN or infinite. Their argmax would be a class all the same, and finite
            weights can lead to them.
    """
    bad = int((~logits.isfinite()).flatten(1).any(1).sum())
    if bad:
        raise BadInput(
            f"the network answers {bad} of {len(logits)} images with NaN or infinite logits, "
            "though its weights are finite; they are too large or of another normalisation: give "
            "other weights, or train with a smaller learning rate"
        )


def _prepare(
    phase: Phase | None,
    modules: Mapping[str, nn.Module],
    recipe: TrainRecipe,
    rows: int,
    rng: torch.Generator,
) -> tuple[State, int]:
    """The state and number of epochs of one phase; without one, the recipe's."""
    named = [
        (n if key == "net" else f"{key}.{n}", p)
        for key, module in modules.items()
        for n, p in module.named_parameters()
    ]
    if phase is None:
        optimizer = recipe.optimizer_of(p for _, p in named)
        schedulers = {"net": recipe.scheduler(optimizer, rows)}
        return State(modules, {"net": optimizer}, schedulers, {}, {"draw": rng}), recipe.epochs
    for parameter_name, parameter in named:
        parameter.requires_grad_(phase.trainable(parameter_name))
    optimizer = phase.optimizer([(n, p) for n, p in named if p.requires_grad])
    return State(modules, {"net": optimizer}, {}, {}, {"draw": rng}), phase.epochs


def _freeze(net: nn.Module, frozen: Collection[str], resting: Collection[str]) -> None:
    for path in resting:
        net.get_submodule(path).training = False
    for name, parameter in net.named_parameters(remove_duplicate=False):
        if name in frozen:
            parameter.requires_grad_(False)
    for name, _ in net.named_buffers():
        if name in frozen:
            net.get_submodule(name.rpartition(".")[0]).eval()


def _module(net: nn.Module, name: str) -> nn.Module:
    """The module `name` inside the network, whose names carry no prefix of the normalisation."""
    inner = net.get_submodule("net") if isinstance(getattr(net, "net", None), nn.Module) else net
    try:
        return inner.get_submodule(name)
    except AttributeError as error:
        raise NotCuttable(
            f"{name!r} is no module of the network, and noise and penalties act on modules during "
            "training; choose a named block (`bench splits MODEL` lists them)"
        ) from error


def _watch(net: nn.Module, name: str, seen: dict[str, Tensor]) -> torch.utils.hooks.RemovableHandle:
    def keep(_module: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> None:
        seen[name] = output

    return _module(net, name).register_forward_hook(keep)


def _protections(
    given: Protection | tuple[Any, ...] | Sequence[Protection] | None,
) -> list[Protection]:
    """One, several or none as a list; a lone one begins with the name of its point."""
    if given is None:
        return []
    if isinstance(given, tuple) and given and isinstance(given[0], str):
        return [Protection(*given)]
    return [Protection(*one) for one in given]


def _protect(
    net: nn.Module, point: str, protector: nn.Module, draw: Draw
) -> torch.utils.hooks.RemovableHandle:
    chain = list(protector) if isinstance(protector, nn.ModuleList) else [protector]

    def replace(_module: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        for one in chain:
            output = one(output, draw)
        return output

    return _module(net, point).register_forward_hook(replace)
