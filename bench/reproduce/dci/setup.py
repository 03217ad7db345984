"""Settings of the experiments on DCI (Dong et al.): networks, blocks, images, and how each rival is
set; the one place for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from adversary.contract.threat import ThreatModel
from adversary.inversion.dci.chain import chain, grouped
from adversary.parts.wgan import Play
from bench.point.measure import make_attack
from bench.point.setup import Scale, Setup, Synthetic
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
METHOD_OPTIONS: Mapping[Scale, Mapping[str, Mapping[str, Any]]] = {
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
        "rmle": {"start": "mean", "steps": 10_000, "learning_rate": 0.1, "tv": 0.1},
        "ddream": {"steps": 500},
        "di": {"steps": 500},
        "decoder": {"batch_size": 32, "epochs": 12, "ssim": 0.0},
    },
    "paper": {
        # 6,000 steps of 32 images in each phase.
        "dci": {"images": 10_000, "batch_size": 32, "epochs": 19, "tune_epochs": 19},
        # An equal part for the discriminator leaves it below the mean image, see the quick scale.
        "psim": {"width": 64, "fooling": 0.01, "epochs": 380},
        "gmi": {"preset": "zhang2020"},
        # Searched at the quick scale only.
        "rmle": {"start": "mean", "steps": 20_000, "learning_rate": 0.1, "tv": 0.1},
        "ddream": {"preset": "dong"},
        "di": {"preset": "dong"},
        "decoder": {"preset": "he2019"},
    },
}
SPECTRAL: Mapping[str, Any] = {"steps": 1000}
"""Of the lab's `rmle`, in coordinates of natural images; it has no image of its own."""
BOTTLENECKS = ("resnet50", "resnet101", "resnet152")
CEILING: Mapping[Scale, Mapping[str, Any]] = {
    "quick": {"batch_size": 32, "epochs": 24, "ssim": 0.0},
    "paper": {"preset": "he2019"},
}
"""Of a decoder on real pairs, which overfits later than one on synthetic ones."""
WHITE, WHOLE = frozenset({"head"}), frozenset({"head", "bodies", "tail"})
METHOD_KNOWS = {"ddream": WHOLE, "di": WHOLE}
"""The dreams need the server's answer; what else is granted to all is the head."""


def blocks_of(setup: Setup) -> list[str]:
    """Where block 1, 2, ... of the head end, as DCI inverts them."""
    arch = setup.untrained
    head = cut(build(arch, seed=0), setup.head_end, setup.tail_start, arch.input.shape).head
    threat = ThreatModel(arch=arch, head_end=setup.head_end, head=head, input=arch.input)
    blocks = chain(threat, "bench reproduce")
    return [block.name for block in (grouped(blocks) if grouping(setup) else blocks)]


def grouping(setup: Setup) -> dict[str, Any]:
    """Settings of DCI that go with the network: ResNet-50 and deeper ones are inverted group by
    group, as the paper has it, all others block by block.
    """
    bare = setup.arch(classes=2).name.rpartition("/")[2]
    return {"grouped": True} if bare in BOTTLENECKS else {}


def updates(scale: Scale, attack: str, depth: int) -> int:
    """Steps of an optimizer on what reconstructs, before any capture; 0 if nothing is learned.

    Of GMI's two networks this is the generator, which steps once for several of its critic's.

    Args:
        depth: blocks of the head.
    """
    own = make_attack(attack, METHOD_OPTIONS[scale][attack]).model_dump()
    epochs = own.get("epochs", 0)
    if attack == "dci":
        epochs = depth * epochs + (depth - 1) * own["tune_epochs"]
    if not epochs:
        return 0
    steps = epochs * batch_count(MADE[scale].images, own["batch_size"])
    return steps // Play().rounds if attack == "gmi" else steps
