"""Ensembler: a secret choice among N bodies (Liu and Xiong 2024, "Ensembler: Combating Model
Inversion Attacks Using Model Ensemble During Collaborative Inference", arXiv:2401.10859).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from defenses.parts.kept import Kept, load_tensors, tensors_of
from defenses.parts.prepare import Assembles, Finishes, Order, scatter
from defenses.parts.stack import Stack, protect
from defenses.parts.stage_one.members import Member
from defenses.parts.stage_one.together import train_together
from splitlab.contracts import Defense
from splitlab.contracts.ranges import Weight
from splitlab.deployment.halves import Halves
from splitlab.deployment.selector import Selector
from splitlab.models import build
from splitlab.randomness import FreeDraw
from splitlab.split import Part, widen
from splitlab.storage import sha256
from splitlab.training import Batch, Loss, State, TensorSource, choose_device, fit, objective

Bodies = Annotated[int, Field(ge=1, le=1000, description="number of bodies")]
MEASURED = 512


class Ensembler(Assembles, Defense):
    """The server runs N bodies and the client's tail takes P of them, chosen in secret.

    Stage one trains N networks, each with a perturbation of its own behind the head. Stage two
    chooses P, freezes their bodies and trains a new head and a new tail through them, with a
    perturbation of its own, under cross entropy + weight * the largest cosine similarity between
    what the new head and the P heads of stage one make of an image (Eq. 3).

    The perturbation is what stands beside it in the stack: `gaussian:level=0.1,draw=fixed` is the
    paper's, `draw=fresh` draws anew for every request, nothing leaves it out. A defence that
    finishes a trained network (Shredder) acts on the outcome of stage two alone.

    Args:
        N: bodies that the server runs.
        P: bodies that the client uses.
        weight: of the similarity, lambda in the paper, which does not state it; 0 leaves it out.
    """

    name: ClassVar[str] = "ensembler"
    source: ClassVar[str] = "Liu and Xiong 2024, section 4 (N = 10, P = 4 for CIFAR-10)"
    owns: ClassVar[frozenset[str]] = frozenset({"bodies"})
    retrains: ClassVar[bool] = True

    N: Bodies = 10
    P: Bodies = 4
    weight: Weight = 1.0

    @model_validator(mode="after")
    def _no_more_than_there_are(self) -> Ensembler:
        if self.P > self.N:
            raise ValueError(
                f"P={self.P} of N={self.N} bodies; choose at most as many as there are"
            )
        return self

    def assemble(self, order: Order, stack: Stack) -> Halves:
        beside = [d for d in stack.defenses if d is not self and not isinstance(d, Finishes)]
        networks = train_together(order, Stack(beside), self.N)
        chosen = tuple(order.secret.permutation(self.N, "selector")[: self.P].tolist())
        two = StageTwo(order, stack, networks, Selector(self.N, chosen), self.weight)
        return two.train()


def similarities(feature: Tensor, others: Sequence[Tensor]) -> Tensor:
    """[P]: cosine between `feature` and each of `others`, mean over the batch.

    Args:
        feature: z [B, *feature_shape], before any protection; taken as one vector an image.
        others: the same images' features by P other heads.
    """
    mine = feature.flatten(1)
    return torch.stack([F.cosine_similarity(mine, z.flatten(1), dim=1).mean() for z in others])


class StageTwo:
    """A new head and tail for frozen bodies.

    Args:
        networks: all N of stage one; they are left as they are.
        selector: the client's choice among them.
        weight: of the largest similarity with the chosen heads.
    """

    def __init__(
        self,
        order: Order,
        stack: Stack,
        networks: Sequence[Member],
        selector: Selector,
        weight: float,
    ) -> None:
        self.order, self.networks = order, networks
        self.selector, self.weight = selector, weight
        # Named for the stack, so that other choices of P and weight share one stage one.
        name = f"stage-two-{sha256(stack.spec.encode())[:8]}"
        self.kept = Kept(order.folder, name, order.run(stack))
        net = build(order.arch, seed=0)
        scatter(net, order.secret.derive("stage two"))
        parts = order.cut(net)
        self.head: Part = parts.head
        self.tail = widen(parts.tail, len(selector.chosen))
        self.stack, self.placed = stack, stack.placed(parts.head.output_shape, order.secret)
        self.protectors = nn.ModuleList(protector for _, protector in self.placed)

    def train(self) -> Halves:
        """Head, all bodies, tail and selector; taken from the folder where they are kept."""
        every = {"head": self.head, "tail": self.tail, "protectors": self.protectors}
        if (found := self.kept.read()) is not None:
            load_tensors(every, found[0])
            facts = found[1]
        else:
            facts = self._train()
            self.kept.write(tensors_of(every), facts)
        for module in every.values():
            module.to("cpu").eval()
        order = self.order
        return Halves(
            arch=order.arch,
            head_end=order.head_end,
            tail_start=order.tail_start,
            head=self.head,
            bodies=tuple(network.parts.body for network in self.networks),
            tail=self.tail,
            protectors=self.protectors,
            selector=self.selector,
            facts=facts,
        )

    def _train(self) -> dict[str, Any]:
        order, recipe = self.order, self.order.recipe
        device = choose_device(order.device)
        chosen = [self.networks[i] for i in self.selector.chosen]
        frozen = nn.ModuleList(part for one in chosen for part in one.parts[:2])
        before = [p.requires_grad for p in frozen.parameters()]
        frozen.to(device).to(memory_format=torch.channels_last).requires_grad_(False).eval()
        modules: dict[str, nn.Module] = {"head": self.head, "tail": self.tail}
        # What a defence learns after training is not there yet; it acts on the finished halves.
        chain = nn.ModuleList(p for d, p in self.placed if not isinstance(d, Finishes))
        if len(chain):
            modules["protectors"] = chain
        for module in modules.values():
            module.to(device).train()
        draw = torch.Generator()

        def step(_state: State, batch: Batch) -> dict[str, Loss]:
            feature = self.head(batch.images)
            free = FreeDraw(draw)
            protected = protect(chain, feature, free)
            outputs = self.stack.recombine([one.parts.body(protected) for one in chosen], free)
            logits = self.tail(self._scaled(outputs))
            term = None
            if self.weight:
                with torch.no_grad():
                    others = [one.parts.head(batch.images).float() for one in chosen]
                term = self.weight * similarities(feature.float(), others).max()
            return {
                "net": objective(
                    logits, batch.targets(logits.shape[1]), recipe.label_smoothing, term
                )
            }

        optimizer = recipe.optimizer_of(p for m in modules.values() for p in m.parameters())
        history = fit(
            step,
            State(
                modules,
                {"net": optimizer},
                {"net": recipe.scheduler(optimizer, len(order.images))},
                {},
                {"draw": draw},
            ),
            order.images,
            epochs=recipe.epochs,
            batch_size=recipe.batch_size,
            seed=order.seed,
            device=device,
            augment=recipe.augment,
            checkpoint=self.kept.checkpoint,
            progress=order.progress,
            name="stage two",
        )
        measured = self._measure(chosen, device)
        frozen.to("cpu").to(memory_format=torch.contiguous_format)
        for parameter, needed in zip(frozen.parameters(), before, strict=True):
            parameter.requires_grad_(needed)
        one = [network.facts for network in self.networks]
        seconds = sum(facts["seconds"] for facts in one) + history.seconds
        images = len(order.images) * recipe.epochs * (len(one) + 1)
        return {
            "epochs": recipe.epochs,
            "seconds": round(seconds, 2),
            "images_per_second": round(images / seconds, 1) if seconds else 0.0,
            "losses": history.losses.get("net", []),
            "stage_one": one,
            "stage_two_seconds": round(history.seconds, 2),
            **measured,
        }

    def _scaled(self, outputs: list[Tensor]) -> Tensor:
        """Outputs of the chosen bodies alone -> what the selector makes of all N."""
        full = [outputs[0]] * self.selector.total
        for place, output in zip(self.selector.chosen, outputs, strict=True):
            full[place] = output
        return self.selector(full)

    @torch.inference_mode()
    def _measure(self, chosen: Sequence[Member], device: torch.device) -> dict[str, Any]:
        """On training images as they are: each similarity, largest first, and the feature's size.

        Largest first, because the order of the selector is secret.
        """
        some = self.order.images.subset(range(min(MEASURED, len(self.order.images))))
        images = TensorSource.of(some, device).batch(torch.arange(len(some), device=device)).images
        self.head.eval()
        feature = self.head(images)
        cosines = similarities(feature, [one.parts.head(images) for one in chosen])
        return {
            "cosines": sorted(cosines.tolist(), reverse=True),
            "feature_rms": float(feature.square().mean().sqrt()),
        }
