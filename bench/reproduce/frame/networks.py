"""Networks of one seed of an experiment: trained once, cut and deployed at every place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

import defenses
from bench.point.deploy import whole
from bench.point.setup import Place, Setup
from bench.point.victim import defended_accuracy, kept_secret
from bench.reproduce.frame.request import ExperimentRequest
from defenses.ensembler import Ensembler
from defenses.parts.prepare import Order, prepare
from splitlab.data import Splits
from splitlab.deployment import ClientHalf, write_deployment
from splitlab.errors import BadInput
from splitlab.models import build, load_checkpoint
from splitlab.split import part_state
from splitlab.storage import hash_tensors, lock, sha256, write_json


@dataclass(frozen=True)
class Networks:
    """
    Args:
        setup: counted, so that every number of images is there.
        folder: of the seed.
    """

    setup: Setup
    request: ExperimentRequest
    seed: int
    splits: Splits
    folder: Path

    def deploy(self, place: Place, folder: Path) -> None:
        """The deployment of a place in `folder`, trained and written if it is not there.

        Raises:
            BadInput: one of other data or of another defence is there.
        """
        stack = defenses.parse(place.defense)
        deployed = folder / "deployment"
        if deployed.exists() and whole(deployed):
            kept = ClientHalf.load(deployed / "client", defenses.parse_file).manifest
            if kept.victims_hash != self.splits.victims.hash or kept.defense != stack.spec:
                raise BadInput(
                    f"{deployed} was made for other data or another defence; choose another --out"
                )
            return
        head_end = place.head_end or self.setup.head_end
        tail_start = place.tail_start or self.setup.tail_start
        order = self._order(head_end, tail_start, self.training(stack))
        if not any(defense.learns for defense in stack.defenses):
            order = replace(order, trained=self.undefended[0])
        halves = prepare(stack, order)
        facts = dict(halves.facts)
        if order.trained is not None:
            facts["network"] = self.undefended[1]
        facts["validation_accuracy"] = defended_accuracy(halves, stack, self.splits.validation)
        write_json(folder / "training.json", facts, private=True)
        write_deployment(
            deployed,
            halves,
            defended=stack,
            secret=order.secret,
            classes=self.splits.classes,
            victims_hash=self.splits.victims.hash,
        )

    def training(self, stack: defenses.Stack) -> Path:
        """Where this stack is trained. Ensemblers that differ in N, P or weight share stage one."""
        beside = [d for d in stack.defenses if not isinstance(d, Ensembler)]
        shared = "ensembler " if len(beside) < len(stack.defenses) else ""
        name = stack.name.replace("+", "-")
        text = shared + defenses.Stack(beside).spec
        return self.folder / "training" / f"{name}-{sha256(text.encode())[:8]}"

    @cached_property
    def undefended(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The undefended network and how it was trained, once for all that do not learn with it.

        Raises:
            Mismatch: a checkpoint of another network or of other classes was given.
        """
        setup, folder = self.setup, self.folder / "training" / "none"
        if (given := self.request.weights) is not None:
            net = build(setup.arch(len(self.splits.classes)), seed=0)
            load_checkpoint(net, given)
            state = dict(net.net.state_dict())
            return state, {"epochs": 0, "weights": hash_tensors(state)}
        order = self._order(setup.head_end, setup.tail_start, folder)
        with lock(folder):
            halves = prepare(defenses.Stack([]), order)
        parts = [part_state(part) for part in (halves.head, *halves.bodies, halves.tail)]
        return {name: value for part in parts for name, value in part.items()}, halves.facts

    def _order(self, head_end: str, tail_start: str | None, folder: Path) -> Order:
        return Order(
            arch=self.setup.arch(len(self.splits.classes)),
            head_end=head_end,
            tail_start=tail_start,
            images=self.splits.train,
            recipe=self.setup.recipe,
            seed=self.seed,
            secret=kept_secret(
                self.folder / "client-secret.json", self.request.secret_of(self.seed)
            ),
            device=self.request.device,
            folder=folder,
            progress=self.request.progress,
        )
