"""Dropout over an ensemble's outputs (Liu and Xiong 2024, "Ensembler", row "DR-ensemble": N bodies
and a dropout layer where Ensembler has its selector, trained in one round).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from defenses.ensembler import Bodies
from defenses.output_dropout import Share, drop_out
from defenses.parts.kept import Kept, load_tensors, tensors_of
from defenses.parts.prepare import Assembles, Finishes, Order
from defenses.parts.stack import Stack, protect
from splitlab.contracts import Defense
from splitlab.deployment.halves import Halves
from splitlab.deployment.selector import Selector
from splitlab.errors import BadInput
from splitlab.models import build
from splitlab.randomness import Draw, FreeDraw, generator
from splitlab.split import Part, widen
from splitlab.training import Batch, Loss, State, choose_device, fit, objective


class DropoutEnsemble(Assembles, Defense):
    """One head, N bodies, and a tail over all their outputs, thinned out by a dropout layer.

    All are trained at once, from different weights, with cross entropy alone. The dropout stays
    active at inference, with a mask of every request's, row's and body's own; what is kept is
    rescaled by 1 / (1 - level), in training and at inference alike. Nothing is chosen in secret.

    Args:
        N: bodies that the server runs, all of them used.
        level: probability of an element of an output to be lost; default Ensembler's 1 - P/N.
    """

    name: ClassVar[str] = "dropout-ensemble"
    source: ClassVar[str] = "Liu and Xiong 2024, section 5.2 (DR-10; 1 - 4/10)"
    owns: ClassVar[frozenset[str]] = frozenset({"bodies", "outputs"})
    retrains: ClassVar[bool] = True

    N: Bodies = 10
    level: Share = 0.6

    def check(self, tail_start: str | None) -> None:
        if tail_start is None:
            raise BadInput(
                f"{self.name} acts between bodies and tail, and the client has no tail; give "
                "--tail-start (e.g. avgpool)"
            )

    def recombine(self, outputs: list[Tensor], draw: Draw) -> list[Tensor]:
        return [
            drop_out(output, draw.uniform(output, f"{self.name} {i}"), self.level)
            for i, output in enumerate(outputs)
        ]

    def assemble(self, order: Order, stack: Stack) -> Halves:
        head, tail, bodies = self._parts(order)
        placed = stack.placed(head.output_shape, order.secret)
        protectors = nn.ModuleList(protector for _, protector in placed)
        halves = Halves(
            arch=order.arch,
            head_end=order.head_end,
            tail_start=order.tail_start,
            head=head,
            bodies=bodies,
            tail=tail,
            protectors=protectors,
            selector=Selector(self.N, tuple(range(self.N))),
        )
        parts = {"head": head, **{f"body-{i}": b for i, b in enumerate(bodies)}, "tail": tail}
        every: dict[str, nn.Module] = {**parts, "protectors": protectors}
        kept = Kept(order.folder, "ensemble", order.run(stack))
        if (found := kept.read()) is not None:
            load_tensors(every, found[0])
            halves.facts.update(found[1])
        else:
            # What a defence learns after training is not there yet.
            chain = nn.ModuleList(p for d, p in placed if not isinstance(d, Finishes))
            halves.facts.update(_train(halves, parts, chain, stack, order, kept.checkpoint))
            kept.write(tensors_of(every), halves.facts)
        for module in every.values():
            module.to("cpu").eval()
        return halves

    def _parts(self, order: Order) -> tuple[Part, Part, tuple[Part, ...]]:
        """Head and tail of one untrained network, bodies of N."""
        first = order.cut(build(order.arch, seed=order.seed))
        bodies = [first.body]
        for number in range(1, self.N):
            seed = generator(order.seed, "body", number).initial_seed()
            bodies.append(order.cut(build(order.arch, seed=seed)).body)
        return first.head, widen(first.tail, self.N), tuple(bodies)


def _train(
    halves: Halves,
    parts: dict[str, Part],
    chain: nn.ModuleList,
    stack: Stack,
    order: Order,
    checkpoint: Path | None,
) -> dict[str, Any]:
    """Everything in one round; returns the facts."""
    recipe, device = order.recipe, choose_device(order.device)
    learned: dict[str, nn.Module] = {**parts, **({"protectors": chain} if len(chain) else {})}
    for module in learned.values():
        module.to(device).train()
    draw = torch.Generator()

    def step(_state: State, batch: Batch) -> dict[str, Loss]:
        free = FreeDraw(draw)
        protected = protect(chain, halves.head(batch.images), free)
        outputs = stack.recombine([body(protected) for body in halves.bodies], free)
        logits = halves.tail(halves.selector(outputs))
        return {"net": objective(logits, batch.targets(logits.shape[1]), recipe.label_smoothing)}

    optimizer = recipe.optimizer_of(p for module in learned.values() for p in module.parameters())
    scheduler = recipe.scheduler(optimizer, len(order.images))
    history = fit(
        step,
        State(learned, {"net": optimizer}, {"net": scheduler}, {}, {"draw": draw}),
        order.images,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        seed=order.seed,
        device=device,
        augment=recipe.augment,
        checkpoint=checkpoint,
        progress=order.progress,
        name="ensemble",
    )
    return {
        "epochs": recipe.epochs,
        "seconds": round(history.seconds, 2),
        "images_per_second": round(history.images_per_second, 1),
        "losses": history.losses.get("net", []),
    }
