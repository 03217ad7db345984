"""What is crossed with what, and the words of each command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import small_networks

Row = dict[str, Any]

NETWORKS = {
    "tiny_cnn": ("block1", "block3"),
    "tiny_vit": ("layers.0", "norm"),
    "resnet20": ("layer1.2", "layer3.0"),
    "squeezenet1_1": ("features.0", "features.12"),
    "mobilenet_v2": ("features.1", "features.18"),
    "mobilenet_v3_small": ("features.0", "features.12"),
}
"""Network -> where its head ends, and its body where there is a tail."""
SMALL_NETWORKS = {
    "tiny_cnn": NETWORKS["tiny_cnn"],
    "tiny_vit": NETWORKS["tiny_vit"],
    "resnet8": ("layer1.0", "layer3.0"),
    **small_networks.CUTS,
}
"""One of each kind of those above, of as few layers as can be."""
DEFENCES = (
    "none",
    "gaussian:level=0.1,draw=fixed+laplace:level=0.1+dropout:level=0.2",
    "single",
    "output-dropout:level=0.2",
    "shredder",
    "random-head",
    "ensembler:N=2,P=2",
    "ensembler:N=3,P=2",
    "dropout-ensemble:N=2",
)
ALL_BODIES = "ensembler:N=2,P=2"
"""As the one of three bodies for every command, but for the selector; left out where it is dear."""
AFTER_BODIES = {"output-dropout:level=0.2", "dropout-ensemble:N=2"}
"""Defences that act between bodies and tail: without a tail they are refused."""
BODIES = {ALL_BODIES: 2, "ensembler:N=3,P=2": 3, "dropout-ensemble:N=2": 2}
"""Defence -> how many bodies there are, where there are several."""
QUIET = {"none", "random-head"}
"""Defences that change neither features nor outputs once the network is trained."""

COMMANDS = ("train", "evaluate", "attack", "sweep")
"""`bench train`; then `cloud-server --check` and `edge-client`; then `bench grant` and `adversary
attack`; and `bench sweep-split-points`. "all" is all of them but for the last."""
WIRES = ("FP32", "FP16", "BF16", "INT8")
ATTACKS = ("decoder", "rmle")
"""Of a black and of a white box."""

VICTIMS = 4
SETTINGS = {
    "decoder": {"epochs": "1"},
    "rmle": {"start": "mean", "steps": "1", "learning_rate": "0.1", "tv": "0"},
}


def fits(row: Row) -> bool:
    """Whether the defence has the tail that it may need."""
    return row["tail"] or row["defence"] not in AFTER_BODIES


def possible(row: Row) -> bool:
    """Whether something comes of it: attacks belong to two of the commands."""
    return fits(row) and (row["command"] in ("attack", "sweep")) == (row["attack"] is not None)


def network_words(row: Row) -> list[str]:
    """What `bench train` and `bench sweep-split-points` are told alike."""
    _, end = {**NETWORKS, **SMALL_NETWORKS}[row["network"]]
    words = [f"--model={row['network']}", f"--defense={row['defence']}", f"--wire={row['wire']}"]
    words += [f"--tail-start={end}"] if row["tail"] else []
    return [*words, "--size=32", "--train-images=8", "--epochs=1", "--device=cpu"]


def train_words(row: Row, photos: Path, out: Path) -> list[str]:
    head, _ = {**NETWORKS, **SMALL_NETWORKS}[row["network"]]
    dataset = f"--dataset=imagefolder:{photos}"
    return ["train", f"--out={out}", f"--split={head}", dataset, *network_words(row)]


def sweep_words(row: Row, photos: Path, out: Path) -> list[str]:
    head, _ = {**NETWORKS, **SMALL_NETWORKS}[row["network"]]
    attack = row["attack"]
    settings = [f"--set={attack}.{key}={value}" for key, value in SETTINGS[attack].items()]
    words = ["sweep-split-points", f"--out={out}", f"--splits={head}", *network_words(row)]
    words += [f"--dataset=imagefolder:{photos}", f"--attack={attack}", *settings]
    return [*words, "--queries=8", "--validation=2", f"--victims={VICTIMS}"]


def grant_words(row: Row, photos: Path, deployment: Path, out: Path) -> list[str]:
    asked = ["--observe=8"] if row["attack"] == "decoder" else ["--head", "--defense", "--aux=8"]
    dataset = f"--dataset=imagefolder:{photos}"
    return ["grant", str(deployment), f"--out={out}", dataset, "--validation=2", *asked]


def attack_words(row: Row, capture: Path, grant: Path, out: Path) -> list[str]:
    attack = row["attack"]
    settings = [f"--set={key}={value}" for key, value in SETTINGS[attack].items()]
    words = ["attack", str(capture), f"--knows={grant}", f"--out={out}", f"--attack={attack}"]
    return [*words, *settings, "--device=cpu"]


def evaluate_words(photos: Path, deployment: Path, server: str, out: Path) -> list[str]:
    words = [str(deployment / "client"), f"--server={server}", "evaluate", f"--out={out}"]
    return [*words, f"--dataset=imagefolder:{photos}", f"--limit={VICTIMS}"]


def name(row: Row) -> str:
    """For the name of a test."""
    parts = [str(value) for key, value in row.items() if key != "tail" and value is not None]
    return "-".join([*parts, "tail" if row["tail"] else "no-tail"])
