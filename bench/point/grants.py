"""What the adversary is given, taken from a deployment by someone who holds all of it.

The only place where a client half becomes knowledge of an adversary: every field is asked for by
name, and what was not asked for is not in the threat model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import count
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

import defenses
from adversary.contract.oracle import Oracle
from adversary.contract.threat import AuxImages, Observed, ThreatModel
from adversary.synthesis.folder import MadeImages, split_images
from splitlab.data import ImageSet, Splits, load_splits
from splitlab.deployment import ClientHalf, ServerHalf
from splitlab.errors import BadInput, Mismatch
from splitlab.randomness import KeyedDraw
from splitlab.wire.codec import decode, encode
from splitlab.wire.request_ids import new_request_id

ROWS = 256


@dataclass(frozen=True)
class GrantRequest:
    """What is granted; all off by default.

    Args:
        head: weights of the client's head (white box).
        defense: which defence acts, with its levels.
        noise: the very noise tensors, where the defence draws them once.
        bodies: the server's networks.
        tail: weights of the client's tail.
        selector: which outputs the client uses.
        auxiliary: number of the adversary's own images, 0 for none.
        validation: number of images that the adversary may choose settings by.
        observe: number of images that it may have the client send (chosen-input queries).
        linked: how many requests of one image it can link and average, queries included.
        P: how many outputs the client uses.
        capture: the captured features already while the attack is fitted, not only afterwards.
        synthetic: "head" or "network": the adversary's images, validation images among them, are
            made of these layers' batch norms; it has no real one.
        labels: the true classes of the records that are seen.
        oracle: what the deployed network answers it with, "" for no answer.
    """

    head: bool = False
    defense: bool = False
    noise: bool = False
    bodies: bool = False
    tail: bool = False
    selector: bool = False
    auxiliary: int = 0
    validation: int = 0
    observe: int = 0
    linked: int = 1
    P: bool = False
    capture: bool = False
    synthetic: Literal["", "head", "network"] = ""
    labels: bool = False
    oracle: Literal["", "logits", "probabilities", "label"] = ""

    def card(self) -> dict[str, Any]:
        """For the record: what was granted, and whether that is a white or a black box."""
        given = {k: v for k, v in vars(self).items() if v and (k, v) != ("linked", 1)}
        return {**given, "box": "white" if self.head else "black"}

    @classmethod
    def of_card(cls, card: Mapping[str, Any]) -> Self:
        """The request that has this card.

        Raises:
            BadInput: a field that no grant has.
        """
        given = {name: value for name, value in card.items() if name != "box"}
        if unknown := sorted(set(given) - {field.name for field in fields(cls)}):
            raise BadInput(f"nothing called {', '.join(unknown)} can be granted")
        return cls(**given)


GRANTED = frozenset({field.name for field in fields(GrantRequest) if field.default is False}) | {
    *("observe", "oracle")
}
"""What an attack's `asks` may name."""


def make_threat(
    deployment: Path,
    request: GrantRequest,
    splits: Splits,
    seed: int,
    name: str = "",
    capture: Tensor | None = None,
    made: MadeImages | None = None,
) -> ThreatModel:
    """Build the threat model that `request` describes.

    Args:
        deployment: folder with `client/` and, if bodies are asked for, `server/`.
        splits: the adversary's images are the auxiliary partition, never another.
        seed: which of the auxiliary images it has.
        capture: z^ [n, *feature_shape] of the victims, in the order in which the attack will be
            handed them; granted where `request` says so.
        made: the synthetic images, where `request` asks for them.

    Raises:
        BadInput: noise without the defence, a capture that is not there, or more images than
            there are.
        Mismatch: captured features of another shape than the deployment's.
        Corrupt: a half is damaged.
    """
    if not any(value for field, value in vars(request).items() if field != "linked"):
        raise BadInput("nothing is granted; name at least one of --head, --observe N, --aux N ...")
    if request.noise and not request.defense:
        raise BadInput("--noise without --defense: noise is part of the defence; grant both")
    if request.capture and capture is None:
        raise BadInput("a capture is granted and there is none; tap the deployment first")
    client = ClientHalf.load(deployment / "client", defenses.parse_file)
    asked = request.bodies or request.oracle
    bodies = ServerHalf.load(deployment / "server").bodies if asked else None
    return threat_of(client, bodies, request, splits, seed, name, capture, made)


def threat_of(
    client: ClientHalf,
    bodies: nn.ModuleList | None,
    request: GrantRequest,
    splits: Splits,
    seed: int,
    name: str = "",
    capture: Tensor | None = None,
    made: MadeImages | None = None,
) -> ThreatModel:
    """The same of halves that are in memory; see `make_threat`."""
    if request.capture and capture is not None and capture.shape[1:] != client.feature.shape:
        raise Mismatch(
            f"captured features are {tuple(capture.shape[1:])}, the deployment sends "
            f"{client.feature.shape}; give the capture of this deployment"
        )
    if bool(request.synthetic) != (made is not None):
        raise BadInput("synthetic images are granted if and only if they were made")
    wanted = max(request.auxiliary, request.observe)
    if made is not None:
        own = split_images(made, wanted, request.validation, request.synthetic)
    else:
        images = _first(splits.auxiliary, wanted, "auxiliary", seed)
        held_out = _first(splits.validation, request.validation, "validation", seed)
        own = AuxImages(images, held_out, "same distribution")
    queried = own.images.subset(range(request.observe))
    return ThreatModel(
        name=name,
        arch=client.manifest.arch,
        head_end=client.manifest.head_end,
        tail_start=client.manifest.tail_start,
        feature=client.feature,
        input=client.input,
        wire=client.wire,
        head=client.head if request.head else None,
        tail=client.tail if request.tail else None,
        bodies=bodies if request.bodies else None,
        defense=client.manifest.defense if request.defense else None,
        protectors=client.protectors if request.noise else None,
        selector=client.selector.chosen if request.selector else None,
        P=len(client.selector.chosen) if request.P else None,
        aux=own if wanted else None,
        oracle=_oracle(client, bodies, request) if request.oracle and bodies is not None else None,
        observe=Observed(queried, query(client, queried, request.linked)) if len(queried) else None,
        capture=capture if request.capture else None,
    )


def adversary_images(
    deployment: Path, dataset: str, seed: int, root: Path | None, download: bool
) -> Splits:
    """The partitions of the data set that the deployment was trained on, at its image size.

    Raises:
        Mismatch: another data set, seed or version of it than at training: its auxiliary images
            might be victims there.
    """
    client = ClientHalf.load(deployment / "client", defenses.parse_file)
    splits = load_splits(dataset, size=client.input.size, seed=seed, root=root, download=download)
    if client.manifest.folders:
        splits = client.labelled(splits, dataset)
    if client.manifest.victims_hash not in ("", splits.victims.hash):
        raise Mismatch(
            f"--dataset {dataset} --seed {seed} has other victims than the deployment was "
            "trained beside; give the data set and seed of `bench train`"
        )
    return splits


def query(client: ClientHalf, images: ImageSet, linked: int = 1) -> Tensor:
    """z^ [n, *feature_shape] of chosen images, as it would leave the wire: protected and coded.

    Each image is sent `linked` times, under ids of their own, and the answers are averaged. The
    ids follow from the client's secret, so that a run under a `--secret-seed` repeats itself.
    """
    total = torch.zeros(())
    with torch.inference_mode():
        for turn in range(linked):
            request_id = new_request_id(client.secret, "query", turn)
            total = total + _sent(client, images.floats("cpu"), request_id)
    return total / linked


def _sent(client: ClientHalf, images: Tensor, request_id: str) -> Tensor:
    """z^ [n, *feature_shape] as it leaves the wire under this id."""
    found = []
    for first, pixels in _pieces(images):
        draw = KeyedDraw(client.secret, request_id, first)
        found.append(decode(encode(client.protect(client.head(pixels), draw), client.wire)))
    return torch.cat(found)


def _oracle(client: ClientHalf, bodies: nn.ModuleList, request: GrantRequest) -> Oracle:
    """The deployed network with its defence acting, each question under an id of its own."""
    turns = count()

    def answer(images: Tensor) -> Tensor:
        request_id = new_request_id(client.secret, "oracle", next(turns))
        feature = _sent(client, images, request_id)
        draw = KeyedDraw(client.secret, request_id, 0)
        logits: Tensor = client.tail(client.select([body(feature) for body in bodies], draw))
        return logits

    assert request.oracle
    return Oracle(answer, request.oracle)


def _pieces(images: Tensor) -> Iterator[tuple[int, Tensor]]:
    for first in range(0, len(images), ROWS):
        yield first, images[first : first + ROWS]


def _first(images: ImageSet, count: int, partition: str, seed: int) -> ImageSet:
    if count > len(images):
        raise BadInput(
            f"{count} {partition} images were asked for, there are {len(images)}; ask for fewer "
            "or load a larger data set"
        )
    return images.take(count, seed)
