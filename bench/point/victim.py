"""The network under attack, undefended or with its defences; a kill costs at most an epoch."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.point.recipe import Networked
from bench.point.weights import basis, first_weights
from defenses import Stack, parse
from defenses.ensembler import Ensembler
from defenses.parts.begin import begin_from
from defenses.parts.kept import load_tensors
from defenses.parts.prepare import Assembles, Order, prepare
from splitlab.contracts import ArchSpec
from splitlab.data import ImageSet, Splits
from splitlab.deployment import Halves
from splitlab.errors import BadInput, Corrupt
from splitlab.models import Normalised, build
from splitlab.randomness import FreeDraw, Secret, generator
from splitlab.split import cut, head_modules, part_state
from splitlab.storage import (
    hash_tensors,
    lock,
    read_json,
    read_tensors,
    sha256,
    write_json,
    write_tensors,
)
from splitlab.training import Progress, accuracy, train_classifier


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


def prepare_victim(
    folder: Path,
    config: Networked,
    splits: Splits,
    *,
    weights: Path | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Victim:
    """The undefended victim in `folder`, trained there if it is not there yet.

    Args:
        folder: gets `weights.safetensors` and `victim.json`; while training, a checkpoint.
        weights: a checkpoint to use instead of training, or to begin it where the config asks
            for a new classifier.

    Raises:
        Corrupt: a file in `folder`, or `weights`, is damaged.
        Mismatch: `weights` are of another network.
        UnknownName: the network is not known.
    """
    arch = config.arch(len(splits.classes))
    finished, kept = folder / "victim.json", folder / "weights.safetensors"
    of = basis(config, splits)
    if finished.exists():
        facts = read_json(finished, f"remove {folder} to train again")
        if facts.get("basis", of) == of:
            net = build(arch, seed=config.seed)
            net.net.load_state_dict(read_tensors(kept, f"remove {folder} to train again"))
            return Victim(arch, net.eval(), facts)
    net = first_weights(config, arch, weights, quiet=False)
    facts = {"epochs": 0, "seconds": 0.0, "images_per_second": 0.0, "basis": of}
    checkpoint = folder / f"checkpoint-{of[:16]}.pt"
    if weights is None or config.new_classifier:
        history = train_classifier(
            net,
            splits,
            config.victim,
            seed=config.seed,
            device=device,
            checkpoint=checkpoint,
            progress=progress,
            frozen=head_tensors(net, config.freeze, arch) if config.freeze else (),
            resting=head_modules(net, config.freeze, arch.input.shape) if config.freeze else (),
        )
        facts |= {
            "epochs": history.epochs,
            "seconds": round(history.seconds, 2),
            "images_per_second": round(history.images_per_second, 1),
        }
    net.to("cpu").eval()
    facts["validation_accuracy"] = accuracy(net, splits.validation, device)
    net.to("cpu")
    facts["weights"] = hash_tensors(net.net.state_dict())
    write_tensors(kept, net.net.state_dict(), private=True)  # it holds the head
    write_json(finished, facts)
    for path in folder.glob("checkpoint*.pt*"):  # those of other settings too
        path.unlink(missing_ok=True)
    return Victim(arch, net, facts)


BEFORE = "network.json"
"""In a folder of an experiment that was begun before victims had one way to be kept."""


def victim_before(folder: Path, arch: ArchSpec) -> Victim:
    """The undefended network of such a folder.

    Raises:
        Corrupt, Mismatch: it is damaged, or of another network.
    """
    remedy = f"remove {folder} to train again"
    facts = read_json(folder / BEFORE, remedy)["facts"]
    net = build(arch, seed=0)
    load_tensors({"net": net.net}, read_tensors(folder / "network.safetensors", remedy))
    return Victim(arch, net.eval(), facts)


def head_tensors(net: Normalised, head_end: str, arch: ArchSpec) -> list[str]:
    """Names in `net`'s state dict of all tensors up to a split point, buffers too.

    Raises:
        UnknownName, NotCuttable: it is no split point.
    """
    return [f"net.{name}" for name in part_state(cut(net, head_end, None, arch.input.shape).head)]


def learns(config: Networked, stack: Stack) -> bool:
    """Whether a network is trained for this very stack, so that no undefended one is of use."""
    return any(d.learns or config.train_with_defense for d in stack.defenses)


def require_beginning(stack: Stack, weights: Path | None) -> None:
    """
    Raises:
        BadInput: trained weights are given for bodies that a defence trains by itself.
    """
    for owner in stack.defenses:
        if weights is not None and isinstance(owner, Assembles):
            raise BadInput(
                f"--weights {weights}: {owner.name!r} trains its bodies by itself, each from "
                "weights of its own; leave out --weights, or choose another defence"
            )


def require_fitting(config: Networked, stack: Stack, net: Normalised, arch: ArchSpec) -> None:
    """
    Raises:
        Mismatch: given weights, in `net`, do not fit the network that a defence makes of it.
    """
    if config.weights_hash is not None and learns(config, stack):
        begin_from(build(stack.architecture(arch), seed=config.seed), net.net.state_dict())


def prepare_halves(
    folder: Path | None,
    config: Networked,
    splits: Splits,
    stack: Stack,
    head_end: str,
    secret: Secret,
    *,
    victim: Victim | None = None,
    weights: Path | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Halves:
    """Head, bodies and tail with their defences, trained in `folder` or cut from `victim`.

    Their facts have the validation accuracy with every defence in place.

    Args:
        folder: gets finished stages and checkpoints; all of it is the client's. None keeps none.
        victim: an undefended network, taken where no defence has to be learned with.
        weights: a checkpoint that training with a defence begins from, with a new classifier where
            the config asks for one; bodies that a defence trains by itself begin anew.

    Raises:
        Mismatch, Corrupt: `folder` holds another run, or a damaged file; `weights` are of another
            network, or do not fit it as a defence changes it.
    """
    arch, begins = config.arch(len(splits.classes)), None
    alone = any(isinstance(defense, Assembles) for defense in stack.defenses)
    if weights is not None and learns(config, stack) and not alone:
        begins = first_weights(config, arch, weights).net.state_dict()
    order = Order(
        arch=arch,
        head_end=head_end,
        tail_start=config.tail_start,
        images=splits.train,
        recipe=config.victim,
        seed=config.seed,
        secret=secret,
        device=device,
        folder=folder,
        progress=progress,
        trained=victim.net.net.state_dict() if victim is not None else None,
        begins=begins,
        freeze=config.freeze if begins else None,
        train_with_defense=config.train_with_defense,
    )
    halves = prepare(stack, order)
    halves.facts["validation_accuracy"] = defended_accuracy(halves, stack, splits.validation)
    return halves


@torch.inference_mode()
def defended_accuracy(halves: Halves, stack: Stack, images: ImageSet, rows: int = 256) -> float:
    """Share of `images` that the halves classify rightly with every defence in place, in %."""
    draw = FreeDraw(generator(0, "accuracy"))
    pieces = zip(images.floats("cpu").split(rows), images.labels.split(rows), strict=True)
    hits = sum(
        int((halves.logits(pixels, draw, stack).argmax(1) == labels).sum())
        for pixels, labels in pieces
    )
    return 100.0 * hits / len(images)


def kept_secret(path: Path, secret_seed: int | None) -> Secret:
    """The client's secret of this run: drawn once, so that a continued run has the same noise.

    Raises:
        Corrupt: the file is damaged.
        BadInput: the run began with another secret than `secret_seed` gives.
    """
    if path.exists():
        try:
            kept = Secret(bytes.fromhex(read_json(path)["key"]))
        except (KeyError, TypeError, ValueError) as error:
            raise Corrupt(path, "it is damaged", "start in a new folder") from error
        if secret_seed is not None and kept != Secret.new(secret_seed):
            raise BadInput(
                f"--secret-seed {secret_seed}: this run began with another secret; leave the flag "
                "out to continue it, or choose another --out"
            )
        return kept
    secret = Secret.new(secret_seed)
    write_json(path, {"key": secret.key.hex()}, private=True)
    return secret


def kept_id(path: Path) -> str:
    """A random name for what this run's secret has a part in; it tells nothing of the secret."""
    with lock(path):
        if not path.exists():
            write_json(path, {"id": secrets.token_hex(16)}, private=True)
        return str(read_json(path, f"remove {path.name} to train again")["id"])


def shared_training(defense: str) -> str:
    """Names what is trained for a stack. Ensemblers that differ in N, P or weight share stage one,
    and each keeps its second stage under a name of its own.
    """
    stack = parse(defense)
    beside = [one for one in stack.defenses if not isinstance(one, Ensembler)]
    shared = "ensembler " if len(beside) < len(stack.defenses) else ""
    text = shared + Stack(beside).spec
    return f"{stack.name.replace('+', '-')}-{sha256(text.encode())[:8]}"
