"""What a user gives beside a network: trained weights, names of their outputs, a map of labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from bench.options import file_hash
from bench.point.recipe import Networked
from splitlab.console import errors
from splitlab.contracts import ArchSpec
from splitlab.data import Splits, places, read_label_map, read_output_names
from splitlab.errors import BadInput
from splitlab.models import (
    Normalised,
    build,
    checkpoint_outputs,
    classifier_keys,
    fixed_outputs,
    load_checkpoint,
)
from splitlab.storage import canonical_json, sha256
from splitlab.training import require_numbers
from splitlab.training.presets import recipe_fields

TRANSFER_RATE = 0.01
"""Learning rate where trained weights are trained further: a fifth of the rate from scratch."""


TRIED = 32
"""Images that given weights answer before anything is kept."""


class LabelFiles(NamedTuple):
    """`--classes`: names of the network's outputs in order; `--label-map`: folder -> output."""

    classes: Path | None = None
    label_map: Path | None = None


def weights_fields(
    weights: Path | None,
    labels: LabelFiles,
    *,
    key: str | None = None,
    new_classifier: bool = False,
    freeze: str | None = None,
    epochs: int | None = None,
    recipe: str | None = None,
) -> dict[str, Any]:
    """The fields of a config that follow from what was given.

    Raises:
        UnknownName: no recipe of this name.
        BadInput: a flag without the one that it belongs to, or a file that cannot be read.
    """
    for flag, given in (
        ("--weights-key", key),
        ("--classes", labels.classes),
        ("--label-map", labels.label_map),
        ("--new-classifier", new_classifier),
        ("--freeze", freeze),
    ):
        if given and weights is None:
            raise BadInput(f"{flag} says how given weights are used; give --weights FILE too")
    if new_classifier and any(labels):
        raise BadInput(
            "--new-classifier has the outputs of the data set; leave out --classes and --label-map"
        )
    if freeze is not None and not new_classifier:
        raise BadInput(
            f"--freeze {freeze} trains what lies behind it; give --new-classifier with it"
        )
    rate = {"learning_rate": TRANSFER_RATE} if new_classifier else {}
    training: dict[str, Any] = {**rate, **recipe_fields(recipe, epochs)}
    hashes = [sha256(_bytes(flag, path)) for flag, path in _named(labels)]
    return {
        "victim": training,
        "weights_hash": file_hash(weights),
        "weights_key": key,
        "labels_hash": sha256(*(digest.encode() for digest in hashes)) if any(labels) else None,
        "new_classifier": new_classifier,
        "freeze": freeze,
    }


def _named(labels: LabelFiles) -> list[tuple[str, Path | None]]:
    return [("--classes", labels.classes), ("--label-map", labels.label_map)]


def _bytes(flag: str, path: Path | None) -> bytes:
    try:
        return b"" if path is None else path.read_bytes()
    except OSError as error:
        raise BadInput(f"{flag} {path}: {error.strerror}; give a readable file") from error


def with_outputs(
    config: Networked, splits: Splits, weights: Path | None, labels: LabelFiles
) -> Splits:
    """`splits`, labelled with the outputs of the given weights where `labels` says how.

    Raises:
        BadInput: a class of the data that is no output, or another number of names than outputs.
        Corrupt: a file of another form.
    """
    if weights is None or not any(labels):
        return splits
    label_map = read_label_map(labels.label_map) if labels.label_map is not None else None
    if labels.classes is not None:
        names = read_output_names(labels.classes)
    else:
        names = [(f"output {number}",) for number in range(_outputs(config, splits, weights))]
    there = _outputs(config, splits, weights, len(names))
    if there != len(names):
        raise BadInput(
            f"--classes {labels.classes} names {len(names)} outputs, {weights} has {there}; give "
            "a name for each, in their order"
        )
    return splits.relabelled([one[0] for one in names], places(splits.classes, names, label_map))


def _outputs(config: Networked, splits: Splits, weights: Path, classes: int | None = None) -> int:
    """How many outputs the weights have, as far as a network of `classes` shows."""
    own = len(splits.classes) if classes is None else classes
    fixed = fixed_outputs(config.arch(own))
    if fixed is not None:
        return fixed
    net = build(config.arch(own), seed=0)
    return checkpoint_outputs(net, weights, config.weights_key) or own


def first_weights(
    config: Networked, arch: ArchSpec, weights: Path | None, *, quiet: bool = True
) -> Normalised:
    """The network before any training: drawn under the seed, or with the given weights in it.

    With `--new-classifier` the last layer stays as it was drawn.

    Args:
        quiet: say nothing of what was chosen in the file.

    Raises:
        BadInput, Corrupt, Mismatch: the weights are no weights, or of another network.
    """
    net = build(arch, seed=config.seed)
    if weights is not None:
        fresh = _classifier(net, arch) if config.new_classifier else ()
        notes = load_checkpoint(net, weights, config.weights_key, fresh=fresh)
        for note in () if quiet else notes:
            errors.print(f"{weights.name}: {note}", markup=False)
    return net


def tried_weights(
    config: Networked, arch: ArchSpec, weights: Path | None, splits: Splits
) -> Normalised:
    """`first_weights`, once given ones have answered the first validation images.

    Raises:
        BadInput, Corrupt, Mismatch: as `first_weights`, or answers that are no numbers.
    """
    net = first_weights(config, arch, weights)
    images = splits.validation
    if weights is not None and len(images):
        net.eval()
        with torch.inference_mode():
            try:
                require_numbers(net(images.images[:TRIED].float().div_(255)))
            except BadInput as error:
                raise BadInput(f"--weights {weights}: {error}") from error
        net.train()
    return net


def _classifier(net: Normalised, arch: ArchSpec) -> list[str]:
    """
    Raises:
        BadInput: a user's own network that cannot be built for another number of classes.
    """
    if (fixed := fixed_outputs(arch)) is not None:
        raise BadInput(
            f"--new-classifier: {arch.name} has {fixed} outputs whatever it is asked for; let the "
            "factory take num_classes, and use it for the last layer"
        )
    other = build(arch.model_copy(update={"classes": arch.classes + 1}), seed=0)
    return classifier_keys(net.net.state_dict(), other.net.state_dict())


def basis(config: Networked, splits: Splits) -> str:
    """Hex SHA-256 of all that a trained victim depends on, so that a stale one is not taken."""
    names = ("model", "size", "seed", "victim", "weights_hash", "weights_key", "new_classifier")
    settings: Mapping[str, Any] = config.model_dump(mode="json")
    mine = {name: settings[name] for name in (*names, "freeze")}
    mine |= {n: settings[n] for n in ("mean", "std", "arguments") if settings.get(n)}
    return sha256(canonical_json({**mine, "data": splits.hash}))
