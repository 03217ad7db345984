"""One network of Ensembler's stage one (Liu and Xiong 2024): made, trained alone, kept."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from defenses.parts.kept import Kept, load_tensors, tensors_of
from defenses.parts.prepare import Order
from defenses.parts.stack import Stack, protect
from splitlab.models import build
from splitlab.randomness import FreeDraw, generator
from splitlab.split import Parts, load_part_state, part_state
from splitlab.training import Batch, Loss, State, choose_device, fit, objective


@dataclass(frozen=True)
class Member:
    """One network, before, while or after it is trained.

    Args:
        number: 0 to N-1.
        parts: in train mode until it is finished; layers that are modules (dropout, batch norm) act
            as in training.
        protectors: noise of its own, from the secret.
        facts: of its training.
    """

    number: int
    parts: Parts
    protectors: nn.ModuleList
    facts: dict[str, Any] = field(default_factory=dict)

    def modules(self) -> dict[str, nn.Module]:
        """By the names under which their tensors are kept."""
        named: dict[str, nn.Module] = dict(self.parts._asdict())
        return {**named, "protectors": self.protectors}

    def finished(self, facts: dict[str, Any]) -> Member:
        """The trained network, in eval mode on the CPU."""
        for module in self.modules().values():
            module.to("cpu").eval()
        return replace(self, facts=facts)

    def order(self, rows: int, rng: torch.Generator) -> Tensor:
        """int64 [rows]: the order of one epoch, which `rng` stands for; as a `Sampler`."""
        own = generator(rng.initial_seed(), "network", self.number)
        return torch.randperm(rows, generator=own)

    def generators(self) -> dict[str, torch.Generator]:
        """Augmentation and fresh noise, by names that `fit` seeds alike in every way to train."""
        return {f"{what} {self.number}": torch.Generator() for what in ("augment", "draw")}


class Members:
    """Makes members; the network is traced once.

    Args:
        stack: what acts on the features; stage one knows nothing of N, P or the loss of stage two,
            so that its networks serve other choices of these.
    """

    def __init__(self, order: Order, stack: Stack) -> None:
        self._order, self._stack = order, stack
        self._template = order.cut(build(order.arch, seed=0))

    def make(self, number: int) -> Member:
        """The untrained network `number`."""
        order = self._order
        seed = generator(order.seed, "stage one", number).initial_seed()
        state = build(order.arch, seed=seed).net.state_dict()
        parts = Parts(*(copy.deepcopy(part) for part in self._template))
        for part in parts:
            load_part_state(part, {name: state[name] for name in part_state(part)})
            part.train()
        secret = order.secret.derive("stage one", number)
        protectors = self._stack.protectors(parts.head.output_shape, secret)
        return Member(number, parts, protectors.train())

    def kept(self, number: int) -> Kept:
        """Where the finished network `number` is kept."""
        run = {**self._order.run(self._stack), "network": number}
        return Kept(self._order.folder, f"network-{number}", run)

    def finished(self, number: int) -> Member | None:
        """The trained network `number`, where it is kept."""
        found = self.kept(number).read()
        if found is None:
            return None
        member = self.make(number)
        load_tensors(member.modules(), found[0])
        return member.finished(found[1])


def train_one(order: Order, members: Members, number: int) -> Member:
    """Train network `number` in this process and keep it."""
    member = members.make(number)
    recipe, device = order.recipe, choose_device(order.device)
    modules, generators = member.modules(), member.generators()
    for module in modules.values():
        module.to(device)
    optimizer = recipe.optimizer_of(p for m in modules.values() for p in m.parameters())
    augment_rng, draw_rng = generators.values()

    def step(_state: State, batch: Batch) -> dict[str, Loss]:
        batch = batch.augmented(recipe.augment, augment_rng)
        feature = protect(member.protectors, member.parts.head(batch.images), FreeDraw(draw_rng))
        logits = member.parts.tail(member.parts.body(feature))
        return {"net": objective(logits, batch.targets(logits.shape[1]), recipe.label_smoothing)}

    kept = members.kept(number)
    history = fit(
        step,
        State(
            modules,
            {"net": optimizer},
            {"net": recipe.scheduler(optimizer, len(order.images))},
            {},
            generators,
        ),
        order.images,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        seed=order.seed,
        device=device,
        sampler=member.order,
        checkpoint=kept.checkpoint,
        progress=order.progress,
        name=f"network {number}",
    )
    facts = {
        "losses": history.losses.get("net", []),
        "seconds": round(history.seconds, 2),
        "images_per_second": round(history.images_per_second, 1),
    }
    finished = member.finished(facts)
    kept.write(tensors_of(member.modules()), facts)
    return finished
