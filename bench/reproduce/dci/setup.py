"""What the experiments on DCI (Dong et al.) share: networks, blocks, images, and how each rival is
set; the one place for these settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from adversary.contract.attack import Attack
from adversary.contract.threat import ThreatModel
from adversary.inversion.dci.chain import chain, grouped
from adversary.parts.wgan import Play
from adversary.registry import ATTACKS
from bench.point.measure import make_attack
from bench.point.setup import Place, Scale, Setup, Synthetic
from bench.reproduce.frame.experiment import Measurement
from bench.reproduce.frame.request import Target
from splitlab.errors import BadInput
from splitlab.models import build
from splitlab.split import cut
from splitlab.training import TrainRecipe, batch_count
from splitlab.training.recipe import LONG

SOURCE = (
    "Dong et al., Privacy Vulnerability of Split Computing to Data-Free Model Inversion Attacks"
)
BLOCKS: Mapping[Scale, tuple[str, ...]] = {
    "quick": (
        "stage0",
        "stage1.0",
        *(f"stage2.{number}" for number in range(3)),
        *(f"stage3.{number}" for number in range(3)),
    ),
    "paper": (
        "stage0",
        *(f"stage1.{number}" for number in range(2)),
        *(f"stage2.{number}" for number in range(4)),
        *(f"stage3.{number}" for number in range(14)),
        "stage4.0",
    ),
}
"""Where block 1, 2, ... of the target ends."""
QUICK = Setup(
    model="repvgg_mini",
    dataset="photo-patches",
    head_end=BLOCKS["quick"][0],
    tail_start="gap",
    recipe=TrainRecipe(epochs=4),
    auxiliary=1200,
    victims=32,
    queries=1200,
)
PAPER = Setup(
    model="repvgg_a0",
    dataset="",
    size=224,
    head_end=BLOCKS["paper"][0],
    tail_start="gap",
    recipe=LONG,
    victims=1000,
    queries=10_000,
)
SETUP: Mapping[Scale, Setup] = {"quick": QUICK, "paper": PAPER}
MADE: Mapping[Scale, Synthetic] = {
    "quick": Synthetic("network", 512, {"steps": 400, "batch_size": 132}),
    "paper": Synthetic("network", 10_000, {"preset": "dci"}),
}
"""The adversary's images; batches that `Synthetic.HELD_OUT` more come out even with."""
NATURAL: Mapping[Scale, Synthetic] = {
    scale: replace(made, settings={**made.settings, "start": "natural"})
    for scale, made in MADE.items()
}
"""The lab's: their making starts from natural noise in place of white."""
OPTIONS: Mapping[Scale, Mapping[str, Mapping[str, Any]]] = {
    "quick": {
        "dci": {
            "images": 512,
            "batch_size": 32,
            "epochs": 4,
            "tune_epochs": 16,
            "tune_rate": 1e-3,
            "cycle_to": "k",
        },
        "psim": {
            "batch_size": 32,
            "epochs": 60,
            "learning_rate": 2e-4,
            "fooling": 0.01,
            "width": 16,
        },
        "gmi": {"batch_size": 32, "epochs": 80, "learning_rate": 5e-4, "steps": 500},
        "rmle": {"steps": 10_000, "learning_rate": 0.1, "tv": 0.1},
        "ddream": {"steps": 500},
        "di": {"steps": 500},
        "decoder": {"batch_size": 32, "epochs": 12},
    },
    "paper": {
        # 6,000 steps of 32 images in each phase.
        "dci": {"images": 10_000, "batch_size": 32, "epochs": 19, "tune_epochs": 19},
        # An equal part for the discriminator leaves it below the mean image, see the quick scale.
        "psim": {"width": 64, "fooling": 0.01, "epochs": 380},
        "gmi": {"preset": "zhang2020"},
        # Searched at the quick scale only.
        "rmle": {"steps": 20_000, "learning_rate": 0.1, "tv": 0.1},
        "ddream": {"preset": "dong"},
        "di": {"preset": "dong"},
        "decoder": {"preset": "he2019"},
    },
}
BOTTLENECKS = ("resnet50", "resnet101", "resnet152")
CEILING: Mapping[Scale, Mapping[str, Any]] = {
    "quick": {"batch_size": 32, "epochs": 24},
    "paper": {"preset": "he2019"},
}
"""Of a decoder on real pairs, which overfits later than one on synthetic ones."""
WHITE, WHOLE = frozenset({"head"}), frozenset({"head", "bodies", "tail"})
KNOWS = {"ddream": WHOLE, "di": WHOLE}
"""The dreams need the server's answer; what else is granted to all is the head."""


def at(scale: Scale, block: int, defense: str = "none", name: str = "") -> Place:
    """The deployment whose head ends with block 1, 2, ..."""
    return Place(name or f"block-{block}", defense, BLOCKS[scale][block - 1])


def moved(own: Setup, target: Target) -> Setup:
    """Another network and split point, where they are named.

    Raises:
        UnknownName, NotCuttable, BadInput: a network or split point that is none.
    """
    if not target:
        return own
    if target.model is not None:
        if target.split is None:
            raise BadInput(
                f"--model {target.model}: say with --split where its head ends; "
                f"`bench splits {target.model}` lists the places"
            )
        own = own.model_copy(update={"model": target.model, "tail_start": None})
    named: dict[str, Any] = {"head_end": target.split, "tail_start": target.tail}
    named |= {"mean": target.mean, "std": target.std}
    setup = own.model_copy(update={key: name for key, name in named.items() if name is not None})
    arch = setup.untrained
    cut(build(arch, seed=0), setup.head_end, setup.tail_start, arch.input.shape)
    return setup


def blocks_of(setup: Setup) -> list[str]:
    """Where block 1, 2, ... of the head end, as DCI inverts them."""
    arch = setup.untrained
    head = cut(build(arch, seed=0), setup.head_end, setup.tail_start, arch.input.shape).head
    threat = ThreatModel(arch=arch, head_end=setup.head_end, head=head, input=arch.input)
    blocks = chain(threat, "bench reproduce")
    return [block.name for block in (grouped(blocks) if grouping(setup) else blocks)]


class Spot(NamedTuple):
    """A place that is attacked, so many blocks deep."""

    depth: int
    label: str
    place: Place


def spot(scale: Scale, setup: Setup, target: Target, depth: int, *, least: int = 1) -> Spot:
    """The scale's own place behind so many blocks, or the one that was named.

    Args:
        setup: moved to the target.
        least: blocks that a named head must have.

    Raises:
        BadInput: it has fewer.
    """
    if not target:
        return Spot(depth, f"block {depth}", at(scale, depth))
    found = len(blocks_of(setup))
    if found < least:
        raise BadInput(
            f"the head up to {setup.head_end} is {found} block to DCI, wanted are at least "
            f"{least}; name a later place with --split (`bench splits {setup.model}` lists them)"
        )
    return named_spot(setup, setup.head_end, found)


def named_spot(setup: Setup, end: str, depth: int) -> Spot:
    """The place of a moved setup where the head ends with `end`, so many blocks deep."""
    return Spot(depth, end, Place(end, "none", end, setup.tail_start))


def grouping(setup: Setup) -> dict[str, Any]:
    """Settings of DCI that go with the network: ResNet-50 and deeper ones are inverted group by
    group, as the paper has it, all others block by block.
    """
    bare = setup.arch(classes=2).name.rpartition("/")[2]
    return {"grouped": True} if bare in BOTTLENECKS else {}


def data_free(
    scale: Scale,
    place: Place,
    attack: str,
    *,
    name: str = "",
    options: Mapping[str, Any] | None = None,
    made: Synthetic | None = None,
) -> Measurement:
    """One method on synthetic images.

    Args:
        name: in the key, in place of the attack's.
        options: beside those of the scale.
        made: in place of the scale's images.
    """
    kind: type[Attack] = ATTACKS.load(attack)
    settings = {**OPTIONS[scale][attack], **(options or {})}
    # The scale's number is of the scale's images; of others all are learned from, too.
    settings.pop("images", None)
    own = kind.learning_from(settings, (made or MADE[scale]).images)
    return Measurement(
        key=f"{place.name}/{name or attack}",
        place=place,
        attack=attack,
        options=own,
        knows=KNOWS.get(attack, WHITE),
        synthetic=made or MADE[scale],
    )


def updates(scale: Scale, attack: str, depth: int) -> int:
    """Steps of an optimizer on what reconstructs, before any capture; 0 if nothing is learned.

    Of GMI's two networks this is the generator, which steps once for several of its critic's.

    Args:
        depth: blocks of the head.
    """
    own = make_attack(attack, OPTIONS[scale][attack]).model_dump()
    epochs = own.get("epochs", 0)
    if attack == "dci":
        epochs = depth * epochs + (depth - 1) * own["tune_epochs"]
    if not epochs:
        return 0
    steps = epochs * batch_count(MADE[scale].images, own["batch_size"])
    return steps // Play().rounds if attack == "gmi" else steps


def on_real(
    scale: Scale, place: Place, images: int, options: Mapping[str, Any] | None = None
) -> Measurement:
    """DCI on so many real ones."""
    own = {**OPTIONS[scale]["dci"], **(options or {}), "data": "own", "images": images}
    return Measurement(f"{place.name}/real-{images}", place, "dci", own, WHITE, images=images)


def ceiling(scale: Scale, place: Place) -> Measurement:
    """A decoder with queries on all the real images."""
    own = dict(CEILING[scale])
    return Measurement(f"{place.name}/ceiling", place, "decoder", own, frozenset({"observe"}))
