"""The one training loop: victims, decoders, shadows and inverters all go through `fit`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from splitlab.contracts.lesson import Sampler
from splitlab.data import ImageSet
from splitlab.errors import BadInput, Mismatch
from splitlab.randomness import generator
from splitlab.storage import hash_tensors
from splitlab.training.augment import Augment
from splitlab.training.checkpoint import REMEDY, load_checkpoint, save_checkpoint
from splitlab.training.device import choose_device
from splitlab.training.layout import channels_last
from splitlab.training.progress import Progress, Silent, Work
from splitlab.training.rehearsal import goes_on
from splitlab.training.source import Batch, TensorSource, in_batches
from splitlab.training.state import State

Loss = Tensor | Callable[[], Tensor]
Step = Callable[[State, Batch], Mapping[str, Loss]]


@dataclass(frozen=True)
class History:
    """What a run did, over all the sittings that it took.

    Args:
        losses: optimizer's name -> mean loss of each epoch.
        images: images trained on, counted once an epoch.
        seconds: time in the loop, checkpoints included.
        facts: what a defence tells of the training; JSON values.
        phases: epochs of each phase, as many as were made.
    """

    losses: dict[str, list[float]] = field(default_factory=dict)
    images: int = 0
    seconds: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)
    phases: tuple[int, ...] = ()

    @property
    def images_per_second(self) -> float:
        return self.images / self.seconds if self.seconds else 0.0

    @property
    def epochs(self) -> int:
        return max((len(values) for values in self.losses.values()), default=0)


def fit(
    step: Step,
    state: State,
    data: ImageSet | TensorSource,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    first: int = 0,
    until: tuple[float, Callable[[], float]] | None = None,
    device: torch.device | str = "auto",
    augment: Augment | None = None,
    sampler: Sampler | None = None,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    name: str = "training",
    amp: bool = True,
    settings: Mapping[str, Any] | None = None,
) -> History:
    """Train `state` in place for `epochs` passes over `data`, or what is left of them.

    `step(state, batch)` returns a loss for each optimizer that shall step, by its name, in the
    order of the steps. A loss given as a function is computed only after the optimizers before it
    have stepped (a generator after its discriminator). The loop zeroes the gradients of an
    optimizer before its backward pass. Modules are left in the mode (train or eval) they came in.
    While they train, images and weights lie channels last, which is faster on CPU and CUDA alike.
    A single row that the batches leave over joins the last of them.

    Args:
        data: moved to `device` as a whole; uint8 tensors arrive in `step` as float [0, 1].
        seed: public; with it a run on the CPU is repeatable bit by bit, dropout included.
        device: "auto", "cpu", "cuda" or a device; the state's modules are moved there.
        augment: acts on the first tensor of a batch.
        first: number of the first epoch, where others of the same run came before it.
        until: a share, and what measures it after each epoch; the run ends once it is reached.
        sampler: (rows, generator) -> int64 rows to visit in an epoch, or its batches; a
            permutation where None.
        checkpoint: file written after every epoch and continued from when it is there.
        amp: bfloat16 autocast, on CUDA only.
        settings: JSON of what decides the training beside all this; `checkpoint` is bound to it.

    Raises:
        BadInput: a loss that is not finite, or has no optimizer.
        Mismatch: `checkpoint` belongs to another run.
        Corrupt: `checkpoint` is damaged.
    """
    device = choose_device(device)
    with channels_last(state.modules.values(), device):
        source = TensorSource.of(data, device)
        run = _describe(state, source, epochs, batch_size, seed, augment)
        run |= {"first epoch": first} if first else {}
        run |= {"settings": dict(settings)} if settings else {}
        run |= {"until": until[0]} if until else {}
        done, history, reached = _resume(checkpoint, run, state)
        fast = amp and device.type == "cuda"
        loop = _Loop(step, state, source, batch_size, augment, sampler, fast)
        work = (progress or Silent()).task(name, epochs * len(source), done * len(source))
        try:
            for epoch in range(done, 0 if reached else epochs):
                started = time.perf_counter()
                losses, images, whole = loop.epoch(seed, first + epoch, work)
                _check_finite(losses, first + epoch)
                for key, value in losses.items():
                    history.losses.setdefault(key, []).append(value)
                seconds = history.seconds + time.perf_counter() - started
                history = History(history.losses, history.images + images, seconds)
                if not whole:
                    break
                reached = until is not None and until[1]() >= until[0]
                if checkpoint is not None:
                    content = {
                        "epochs": epoch + 1,
                        "state": state.state_dict(),
                        "losses": history.losses,
                        "images": history.images,
                        "seconds": history.seconds,
                        "reached": reached,
                    }
                    save_checkpoint(checkpoint, run, content)
                if reached:
                    break
        finally:
            work.close()
    return history


@dataclass(frozen=True)
class _Loop:
    """What stays the same from epoch to epoch."""

    step: Step
    state: State
    source: TensorSource
    batch_size: int
    augment: Augment | None
    sampler: Sampler | None
    amp: bool

    def epoch(self, seed: int, epoch: int, work: Work) -> tuple[dict[str, float], int, bool]:
        """One pass, random by (seed, epoch) alone.

        Returns:
            mean loss by name, the number of images, and whether it went through them all, as it
            does but in a rehearsal.
        """
        device = self.source.device
        order_rng, augment_rng = (generator(seed, p, epoch) for p in ("order", "augment"))
        for name, rng in self.state.generators.items():
            rng.manual_seed(generator(seed, "step", name, epoch).initial_seed())
        visited = (self.sampler or _permutation)(len(self.source), order_rng)
        if isinstance(visited, Tensor):
            batches = in_batches(visited.to(device), self.batch_size)
        else:
            batches = [rows.to(device) for rows in visited if len(rows)]
        count = sum(map(len, batches))
        sums: dict[str, Tensor] = {}
        whole = True
        devices = [device] if device.type == "cuda" else []
        # Dropout and its like draw from torch's global generator: seeded for the epoch, then put
        # back, so that neither side sees the other.
        with torch.random.fork_rng(devices):
            torch.manual_seed(generator(seed, "layers", epoch).initial_seed())
            for indices in batches:
                batch = self.source.batch(indices, self.augment, augment_rng, epoch)
                last = None
                for name, loss in self._losses(batch):
                    sums[name] = sums.get(name, 0.0) + loss * len(indices)
                    last = loss
                if not (whole := goes_on(work.advance, len(indices), last)):
                    break
        means = {name: float(total) / max(count, 1) for name, total in sums.items()}
        return means, count, whole

    def _losses(self, batch: Batch) -> list[tuple[str, Tensor]]:
        """One step of every optimizer that `step` returns a loss for; the losses, detached."""
        found = []
        device_type = self.source.device.type
        with torch.autocast(device_type, torch.bfloat16, enabled=self.amp):
            losses = self.step(self.state, batch)
        for name, loss in losses.items():
            if name not in self.state.optimizers:
                raise BadInput(
                    f"the step returned a loss {name!r} and there is no optimizer of that name; "
                    f"known: {', '.join(self.state.optimizers)}"
                )
            with torch.autocast(device_type, torch.bfloat16, enabled=self.amp):
                value = loss() if callable(loss) else loss
            optimizer = self.state.optimizers[name]
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            optimizer.step()
            if name in self.state.schedulers:
                self.state.schedulers[name].step()
            found.append((name, value.detach().float()))
        return found


def _permutation(rows: int, rng: torch.Generator) -> Tensor:
    return torch.randperm(rows, generator=rng)


def _describe(
    state: State,
    source: TensorSource,
    epochs: int,
    batch_size: int,
    seed: int,
    augment: Augment | None,
) -> dict[str, Any]:
    """What a checkpoint is bound to; of the data 64 rows, as hashing all may outlast an epoch."""
    rows = torch.linspace(0, len(source) - 1, min(64, len(source))).long().to(source.device)
    return {
        "epochs": epochs,
        "batch size": batch_size,
        "seed": seed,
        "augment": repr(augment),
        "rows": len(source),
        "data": hash_tensors({str(i): t[rows] for i, t in enumerate(source.tensors)}),
        "optimizers": {name: _written(opt) for name, opt in state.optimizers.items()},
    }


HOW = ("params", "lr", "foreach", "fused", "capturable", "differentiable")
"""What a group holds besides settings, and how it is computed; the rate stands by its first."""


def _written(optimizer: Optimizer) -> str:
    """Such as "SGD(lr=0.1, momentum=0.9; lr=0.1, momentum=0.9)": the settings of its groups."""
    told = []
    for group in optimizer.param_groups:
        own = {"lr": group.get("initial_lr", group.get("lr"))}
        own |= {k: v for k, v in group.items() if k not in HOW and k != "initial_lr"}
        told.append(", ".join(f"{k}={v}" for k, v in own.items() if not isinstance(v, Tensor)))
    return f"{type(optimizer).__name__}({'; '.join(told)})"


def _resume(
    checkpoint: Path | None, run: dict[str, Any], state: State
) -> tuple[int, History, bool]:
    saved = load_checkpoint(checkpoint, run) if checkpoint is not None else None
    if saved is None:
        return 0, History(), False
    try:
        state.load_state_dict(saved["state"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise Mismatch(
            f"{checkpoint} holds other networks or optimizers than are trained here "
            f"({str(error).splitlines()[0]}); {REMEDY}"
        ) from error
    history = History(saved["losses"], saved["images"], saved["seconds"])
    return saved["epochs"], history, saved.get("reached", False)


def _check_finite(losses: Mapping[str, float], epoch: int) -> None:
    for name, value in losses.items():
        if not math.isfinite(value):
            raise BadInput(
                f"the loss {name!r} became {value} in epoch {epoch + 1}; use a lower learning rate"
            )
