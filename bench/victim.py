"""The network under attack: trained once a run, or loaded; a kill costs at most an epoch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.recipe import SweepConfig
from splitlab.contracts import ArchSpec, InputSpec
from splitlab.data import Splits
from splitlab.models import Normalised, build, load_checkpoint
from splitlab.storage import hash_tensors, read_json, read_tensors, write_json, write_tensors
from splitlab.training import Progress, Protection, accuracy, train_classifier


@dataclass(frozen=True)
class Victim:
    """A trained network, in eval mode on the CPU.

    Args:
        arch: the network as data.
        net: images [B, 3, S, S] in [0, 1] -> logits.
        facts: epochs, seconds, images per second, validation accuracy in %, hash of the weights.
    """

    arch: ArchSpec
    net: Normalised
    facts: dict[str, Any]


def arch_of(config: SweepConfig, classes: int) -> ArchSpec:
    """The configured network for this many classes and this image size."""
    return ArchSpec(name=config.model, classes=classes, input=InputSpec(size=config.size))


def prepare_victim(
    folder: Path,
    config: SweepConfig,
    splits: Splits,
    *,
    weights: Path | None = None,
    progress: Progress | None = None,
    protect: Protection | None = None,
) -> Victim:
    """The victim in `folder`, trained there if it is not there yet.

    Args:
        folder: gets `weights.safetensors` and `victim.json`; while training, a checkpoint.
        weights: a checkpoint to use instead of training.
        protect: a defence that the network learns with, at its split point.

    Raises:
        Corrupt: a file in `folder`, or `weights`, is damaged.
        UnknownName: the network is not known.
    """
    arch = arch_of(config, len(splits.classes))
    net = build(arch, seed=config.seed)
    finished, kept = folder / "victim.json", folder / "weights.safetensors"
    if finished.exists():
        facts = read_json(finished, f"remove {folder} to train again")
        net.net.load_state_dict(read_tensors(kept, f"remove {folder} to train again"))
        return Victim(arch, net.eval(), facts)
    facts = {"epochs": 0, "seconds": 0.0, "images_per_second": 0.0}
    if weights is not None:
        load_checkpoint(net, weights)
    else:
        history = train_classifier(
            net,
            splits,
            config.victim,
            seed=config.seed,
            device=config.device,
            checkpoint=folder / "checkpoint.pt",
            progress=progress,
            protect=protect,
        )
        facts = {
            "epochs": history.epochs,
            "seconds": round(history.seconds, 2),
            "images_per_second": round(history.images_per_second, 1),
        }
    net.to("cpu").eval()
    facts["validation_accuracy"] = accuracy(net, splits.validation, config.device)
    net.to("cpu")
    facts["weights"] = hash_tensors(net.net.state_dict())
    write_tensors(kept, net.net.state_dict(), private=True)  # it holds the head
    write_json(finished, facts)
    (folder / "checkpoint.pt").unlink(missing_ok=True)
    return Victim(arch, net, facts)
