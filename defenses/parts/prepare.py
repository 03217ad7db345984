"""From an order to a trained, defended split network: the one way for every defence."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from defenses.parts.begin import begin_from
from defenses.parts.kept import Kept, load_tensors, tensors_of
from defenses.parts.stack import Stack
from splitlab.contracts import ArchSpec, Defense, Lesson, Phase, Task
from splitlab.contracts.method import told_of
from splitlab.data import ImageSet
from splitlab.deployment.halves import Halves
from splitlab.deployment.selector import Selector
from splitlab.entry_points import DEFENSE_GROUP
from splitlab.errors import BadInput, Mismatch
from splitlab.models import Normalised, build
from splitlab.models.variants import merged
from splitlab.randomness import Draw, Secret
from splitlab.split import Parts, cut, head_modules, part_state
from splitlab.storage import hash_tensors
from splitlab.training import Progress, Protection, TrainRecipe, train_classifier

UNHEARD = ("modules", "objective", "phases", "train_with", "watches")
"""Hooks that whoever trains several bodies by itself does not read."""
StageOneMode = Literal["auto", "one after another", "processes", "batched"]


@dataclass(frozen=True)
class Order:
    """What is wanted: all that training a defended split network needs.

    Args:
        arch: the undefended network as data.
        head_end, tail_start: where the client's head ends and its tail begins.
        images: training images.
        seed: public; never decides a secret.
        secret: the client's; selector, fixed noise and secret weights come from it.
        folder: gets checkpoints and finished stages, private; a killed run continues from here.
        trained: state dict (of `.net`) of an undefended trained network of this architecture, taken
            where no defence has to be learned with.
        begins: state dict (of `.net`) of an undefended network that training begins from, in place
            of weights that are drawn; who trains several bodies by itself takes none.
        freeze: split point up to which nothing is trained, of a network that begins so.
        train_with_defense: the network learns with every defence of the stack.
        together: how several networks of one deployment are trained; see `train_together`.
    """

    arch: ArchSpec
    head_end: str
    tail_start: str | None
    images: ImageSet
    recipe: TrainRecipe
    seed: int
    secret: Secret
    device: str = "auto"
    folder: Path | None = None
    progress: Progress | None = None
    trained: Mapping[str, Tensor] | None = None
    begins: Mapping[str, Tensor] | None = None
    freeze: str | None = None
    train_with_defense: bool = False
    together: StageOneMode = "auto"

    def cut(self, net: nn.Module) -> Parts:
        """Head, body and tail of `net`, which is of this architecture."""
        return cut(net, self.head_end, self.tail_start, self.arch.input.shape)

    def run(self, stack: Stack) -> dict[str, Any]:
        """What a finished stage is bound to; a hash stands for the secret and for the images."""
        told = {d.name: told_of(DEFENSE_GROUP, d.name, type(d)) for d in stack.defenses}
        packages = {name: one for name, one in told.items() if one}
        begun = {"begins": hash_tensors(self.begins), "freeze": self.freeze} if self.begins else {}
        return {
            **({"packages": packages} if packages else {}),
            **begun,
            "arch": self.arch.model_dump(mode="json"),
            "head_end": self.head_end,
            "tail_start": self.tail_start,
            "defense": stack.spec,
            "learned with": self.train_with_defense,
            "recipe": self.recipe.model_dump(mode="json"),
            "seed": self.seed,
            "secret": self.secret.derive("which run a finished stage belongs to").key.hex(),
            "images": self.images.hash,
        }


class Assembles(ABC):
    """Mixed into a defence that owns "bodies": it trains everything itself.

    Its loss and its schedule are its own, so that nothing stacked on it may bring others.
    """

    @abstractmethod
    def assemble(self, order: Order, stack: Stack) -> Halves:
        """Head, N bodies, tail, protectors of the whole `stack`, and selector; all trained."""


class Finishes(ABC):
    """Mixed into a defence that changes a trained network before it is deployed."""

    @abstractmethod
    def finish(self, halves: Halves, order: Order) -> Halves:
        """`halves` as this defence leaves them; what was handed in stays as it is."""


def prepare(stack: Stack, order: Order) -> Halves:
    """Train what `stack` asks for, or take what is trained, and cut it.

    Raises:
        BadInput: a defence that does not fit the order.
        UnknownName, NotCuttable: no such network or split point.
        Mismatch, Corrupt: `order.folder` holds another run, or a damaged file.
    """
    stack.check(order.tail_start)
    order = dataclasses.replace(order, arch=stack.architecture(order.arch))
    owner = next((d for d in stack.defenses if isinstance(d, Assembles)), None)
    if owner is not None:
        _refuse_unheard(owner, stack)
        if order.recipe.until is not None:
            raise BadInput(
                f"recipe until={order.recipe.until:g}: {owner.name!r} trains its bodies for a "
                "number of epochs; give until=none and epochs"
            )
    halves = owner.assemble(order, stack) if owner is not None else _one_network(order, stack)
    for defense in stack.defenses:
        if isinstance(defense, Finishes):
            halves = defense.finish(halves, order)
    return halves


def _refuse_unheard(owner: Defense, stack: Stack) -> None:
    """
    Raises:
        BadInput: a defence beside `owner` wants a part in a training that `owner` does alone.
    """
    for defense in stack.defenses:
        if defense is owner:
            continue
        unheard = [hook for hook in UNHEARD if defense.overrides(hook)]
        if unheard:
            raise BadInput(
                f"{defense.name!r} beside {owner.name!r}: its {', '.join(unheard)} would be "
                f"ignored, {owner.name!r} trains its bodies by itself; leave one of them out"
            )


def _one_network(order: Order, stack: Stack) -> Halves:
    """One network, trained with those defences that it has to learn with, or already trained."""
    net = build(order.arch, seed=order.seed)
    parts = order.cut(net)
    placed = stack.placed(parts.head.output_shape, order.secret)
    learned = [d for d in stack.defenses if d.learns or order.train_with_defense]
    facts: dict[str, Any] = {"epochs": 0, "seconds": 0.0, "images_per_second": 0.0}
    if order.trained is not None and not learned:
        try:
            net.net.load_state_dict(order.trained)
        except RuntimeError as error:
            raise Mismatch(f"trained weights of another network: {error}") from error
    else:
        if order.begins is not None:
            begin_from(net, order.begins)
        chain = nn.ModuleList(p for defense, p in placed if defense in learned)
        order, net, facts = _train(net, chain, learned, stack, order)
    parts = order.cut(net.to("cpu").eval())
    protectors = nn.ModuleList(protector for _, protector in placed).to("cpu").eval()
    return Halves(
        arch=order.arch,
        head_end=order.head_end,
        tail_start=order.tail_start,
        head=parts.head,
        bodies=(parts.body,),
        tail=parts.tail,
        protectors=protectors,
        selector=Selector(1, (0,)),
        facts=facts,
    )


class _AfterBody(nn.Module):
    """What a defence does to a body's output on the client, as a step of training."""

    def __init__(self, defense: Defense) -> None:
        super().__init__()
        self.defense = defense

    def forward(self, output: Tensor, draw: Draw) -> Tensor:
        """[B, *output_shape] -> the same shape."""
        return self.defense.recombine([output], draw)[0]


def _train(
    net: Normalised, chain: nn.ModuleList, learned: list[Defense], stack: Stack, order: Order
) -> tuple[Order, Normalised, dict[str, Any]]:
    """Train `net`, and `chain` along with it. Taken from the folder if kept.

    Returns:
        The order and the network as the last phase leaves them, and the facts.
    """
    teaching = Stack(learned)
    task = Task(
        order.arch,
        order.head_end,
        order.tail_start,
        order.recipe.epochs,
        order.recipe.batch_size,
        len(order.images),
        net.net,
    )
    kept = Kept(order.folder, "network", order.run(stack))
    every = {"net": net.net, "protectors": chain}
    if (found := kept.read()) is not None:
        load_tensors(every, found[0])
        return *_as_deployed(order, net, teaching.phases(task)), found[1]
    protections = [Protection(order.head_end, chain)] if len(chain) else []
    for defense in learned:
        if defense.overrides("recombine"):
            if order.tail_start is None:
                raise BadInput(
                    f"{defense.name!r} acts between body and tail, and without --tail-start there "
                    "is no tail; give one"
                )
            protections.append(Protection(order.tail_start, _AfterBody(defense)))
    frozen: Sequence[str] = ()
    if order.freeze is not None:
        still = cut(net, order.freeze, None, order.arch.input.shape).head
        frozen = [f"net.{name}" for name in part_state(still)]
    history = train_classifier(
        net,
        order.images,
        order.recipe,
        seed=order.seed,
        device=order.device,
        checkpoint=kept.checkpoint,
        progress=order.progress,
        protect=protections,
        lesson=Lesson(teaching, task) if learned else None,
        frozen=frozen,
        resting=head_modules(net, order.freeze, order.arch.input.shape) if order.freeze else (),
    )
    facts = {
        "epochs": history.epochs,
        "seconds": round(history.seconds, 2),
        "images_per_second": round(history.images_per_second, 1),
        "losses": history.losses["net"],
        "weights": hash_tensors(net.net.state_dict()),
    }
    phases = teaching.phases(task)
    made = [[one.name, epochs] for one, epochs in zip(phases or (), history.phases, strict=False)]
    facts |= {"phases": made} if made else {}
    facts |= {"trained with": history.facts} if history.facts else {}
    kept.write(tensors_of(every), facts)
    return *_as_deployed(order, net, phases), facts


def _as_deployed(
    order: Order, net: Normalised, phases: Sequence[Phase] | None
) -> tuple[Order, Normalised]:
    """The network built anew with the variants in which the phases left it, if they changed any.

    A server builds it so. It may hold less than what was trained: no projection of a skip that was
    switched off.
    """
    variants = dict(order.arch.variants)
    for phase in phases or ():
        variants = merged(variants, phase.variants)
    if variants == order.arch.variants:
        return order, net
    arch = order.arch.model_copy(update={"variants": variants})
    new, state = build(arch, seed=order.seed), net.net.state_dict()
    new.net.load_state_dict({name: state[name] for name in new.net.state_dict()})
    return dataclasses.replace(order, arch=arch), new


@torch.no_grad()
def scatter(module: nn.Module, secret: Secret) -> None:
    """Put the elements of each parameter in an order that only the secret's holder knows.

    An untrained layer's weights are independent draws from one distribution, so that this is
    another draw from it. It takes the whole secret, where a generator's seed is 32 bits that an
    adversary who knows the architecture could try one after another. Constants stay as they are.
    """
    for name, parameter in module.named_parameters():
        places = secret.permutation(parameter.numel(), name)
        parameter.copy_(parameter.flatten()[places].view_as(parameter))
