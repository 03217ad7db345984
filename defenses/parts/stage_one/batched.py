"""Ensembler's stage one (Liu and Xiong 2024) as one computation: `vmap` over stacked networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from defenses.parts.kept import tensors_of
from defenses.parts.prepare import Order
from defenses.parts.stack import protect
from defenses.parts.stage_one.members import Member, Members
from splitlab.randomness import FreeDraw
from splitlab.training import Batch, Loss, State, choose_device, fit, objective


class _Stacked:
    """Modules of one shape as one function with stacked tensors.

    Args:
        modules: in train mode, on the device; only the first one's code runs.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self.modules = modules
        self.parameters, self.buffers = stack_module_state(list(modules))
        base = modules[0]

        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Tensor:
            return functional_call(base, (parameters, buffers), (x,))

        self._call: Callable[..., Tensor] = vmap(one, randomness="different")

    def __call__(self, inputs: Tensor) -> Tensor:
        """[N, B, ...] -> [N, B, ...]; buffers (running statistics) are updated in place."""
        return self._call(self.parameters, self.buffers, inputs)

    def tensors(self) -> dict[str, Tensor]:
        return {**self.parameters, **self.buffers}

    @torch.no_grad()
    def give_back(self) -> None:
        """Copy what was learned into the modules."""
        for number, module in enumerate(self.modules):
            own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
            for name, stacked in self.tensors().items():
                own[name].copy_(stacked[number])


def train_batched(order: Order, members: Members, pending: Sequence[int]) -> dict[int, Member]:
    """Train the networks `pending` at once; all are finished, and kept, together.

    Every network sees its own images in its own order: a batch has one column for each.
    """
    device, recipe = choose_device(order.device), order.recipe
    group = [members.make(number) for number in pending]
    for member in group:
        for module in member.modules().values():
            module.to(device)
    head = _Stacked([member.parts.head for member in group])
    rest = _Stacked([nn.Sequential(member.parts.body, member.parts.tail) for member in group])
    rows = len(order.images)
    losses = torch.zeros(max(1, recipe.epochs), len(group), device=device)
    epoch = torch.full((), -1, dtype=torch.int64)
    generators = {k: rng for member in group for k, rng in member.generators().items()}

    def sampler(rows: int, rng: torch.Generator) -> Tensor:
        epoch.add_(1)
        losses[epoch] = 0
        return torch.stack([member.order(rows, rng) for member in group], dim=1)

    def step(_state: State, batch: Batch) -> dict[str, Loss]:
        columns = _augmented(order, group, batch, generators)
        feature = head(torch.stack([column.images for column in columns]))
        drawn = [
            protect(m.protectors, z, FreeDraw(generators[f"draw {m.number}"]))
            for m, z in zip(group, feature, strict=True)
        ]
        logits = rest(torch.stack(drawn))
        each = torch.stack(
            [
                objective(one, column.targets(one.shape[1]), recipe.label_smoothing)
                for one, column in zip(logits, columns, strict=True)
            ]
        )
        losses[epoch] += each.detach() * len(batch.indices) / rows
        return {"net": each.sum()}

    learned = [*head.parameters.values(), *rest.parameters.values()]
    optimizer = recipe.optimizer_of(
        (p for m in group for p in m.protectors.parameters()), stacked=learned
    )
    name = "-".join(map(str, ("networks", *pending)))
    together = dataclasses.replace(members.kept(pending[0]), name=name)
    history = fit(
        step,
        State(
            {f"protectors {m.number}": m.protectors for m in group},
            {"net": optimizer},
            {"net": recipe.scheduler(optimizer, rows)},
            {
                **{f"head.{k}": v for k, v in head.tensors().items()},
                **{f"rest.{k}": v for k, v in rest.tensors().items()},
                "losses": losses,
                "epoch": epoch,
            },
            generators,
        ),
        order.images,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        seed=order.seed,
        device=device,
        sampler=sampler,
        checkpoint=together.checkpoint,
        progress=order.progress,
        name=f"{len(group)} networks at once",
    )
    head.give_back()
    rest.give_back()
    done = {}
    for place, member in enumerate(group):
        facts = {
            "losses": losses[: recipe.epochs, place].tolist(),
            "seconds": round(history.seconds / len(group), 2),
            "images_per_second": round(history.images_per_second * len(group), 1),
        }
        done[member.number] = member.finished(facts)
        members.kept(member.number).write(tensors_of(member.modules()), facts)
    together.clear()
    return done


def _augmented(
    order: Order, group: Sequence[Member], batch: Batch, rngs: dict[str, torch.Generator]
) -> list[Batch]:
    """Images [B, N, C, S, S] -> each network's own [B, C, S, S], augmented on their own."""
    columns = zip(*(one.unbind(1) for one in (*batch.tensors, batch.indices)), strict=True)
    return [
        Batch(tuple(tensors), rows).augmented(
            order.recipe.augment, rngs[f"augment {member.number}"]
        )
        for member, (*tensors, rows) in zip(group, columns, strict=True)
    ]
