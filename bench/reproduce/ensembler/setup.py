"""Networks, data and words that Ensembler's experiments share (Liu and Xiong 2024)."""

from __future__ import annotations

from bench.point.setup import Setup
from splitlab.training import TrainRecipe
from splitlab.training.recipe import LONG

SOURCE = "Liu and Xiong 2024, Ensembler, arXiv:2401.10859v1"
NOISE = "gaussian:level=0.1,draw=fixed"
QUICK = Setup(
    model="resnet8",
    dataset="photo-patches",
    head_end="relu",
    tail_start="avgpool",
    recipe=TrainRecipe(epochs=3),
    train=2000,
    auxiliary=1200,
)
PAPER = Setup(
    model="resnet18_cifar",
    arguments={"stem": "cifar10"},
    dataset="cifar10",
    head_end="maxpool",
    tail_start="avgpool",
    recipe=LONG,
    victims=1000,
    queries=10_000,
)
"""h = 1 and t = 1. The paper states neither optimiser nor epochs: ours are the lab's for CIFAR."""
QUICK_NOTE = (
    "Quick scale: ResNet-8 on photo-patches. The literal attack is shortened (1 epoch for 30, as "
    "many channels as the head has for 64, the lab's decoder for one epoch), so that nothing about "
    "the paper's pipeline follows from it; ensembler-attackers has a row in full. The paper's "
    "numbers are ResNet-18's on its own data set; they stand here for the directions, not for the "
    "values."
)
NOTES = (
    "The paper's numbers stand beside its own pipeline (literal). Strengthened: the same "
    "knowledge and the captured features, with the defence known. Ceiling: a decoder with "
    "chosen-input queries, which the threat model forbids. Floor: the mean auxiliary image.",
    "In the strengthened attack the captures decide nearly everything and the bodies only choose "
    "among maps of colours, so that all bodies, one body and the oracle's differ little.",
    "Best SSIM and best PSNR are chosen with the true images, as in the paper; an adversary could "
    "not choose like this.",
    "Our adversary's images are disjoint from the victim's training images; the paper's are the "
    "same. SSIM and PSNR are taken on images in [0, 1].",
    "A verdict compares two numbers of one seed over the same victims; below 0.2 dB or 0.01 they "
    "count as equal. Intervals over photographs, which are wider, stand in the records.",
)


def numbers(change: float, ssim: float, psnr: float) -> dict[str, float]:
    """The paper's, in points, 1 and dB."""
    return {"accuracy_change": change, "ssim": ssim, "psnr": psnr}


def ensembler(total: int, chosen: int) -> str:
    """The paper's Ensembler as text."""
    return f"ensembler:N={total},P={chosen}+{NOISE}"
