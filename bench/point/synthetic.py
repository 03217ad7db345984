"""Synthetic images for the adversaries of an experiment, made of what a deployment's batch norms
remember (Dong et al., DCI, equation 4).
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

import defenses
from adversary.synthesis.folder import MadeImages, load_images, make_images, making
from adversary.synthesis.settings import SynthesisSettings
from adversary.synthesis.synthesis import Known
from bench.point.setup import Synthetic
from splitlab.deployment import ClientHalf, ServerHalf
from splitlab.errors import BadInput
from splitlab.models import build, load_exactly
from splitlab.split import part_state
from splitlab.split.parts import Part
from splitlab.training import Progress, choose_device


def synthetic_images(
    place: Path,
    deployment: Path,
    wanted: Synthetic,
    *,
    seed: int,
    device: str,
    progress: Progress | None = None,
) -> MadeImages:
    """As many as `wanted` says, and `Synthetic.HELD_OUT` more; what is in `place` is not repeated.

    Args:
        place: for images of these layers, made with these settings; held by who calls.

    Raises:
        BadInput: the whole network is asked for and several bodies are served; or no batch norm.
    """
    count = wanted.images + wanted.HELD_OUT
    settings = SynthesisSettings.configured(wanted.settings)
    content = make_images(
        place,
        known(deployment, wanted.layers),
        settings,
        count=count,
        seed=seed,
        device=choose_device(device),
        progress=progress,
    )
    size = ClientHalf.load(deployment / "client", defenses.parse_file).input.size
    return MadeImages(load_images(place, size, count), making(content, count))


def known(deployment: Path, layers: str) -> Known:
    """What the adversary reads: the head, or the network as one, the same wherever it is cut.

    Raises:
        BadInput: the whole network is asked for and several bodies are served.
    """
    client = ClientHalf.load(deployment / "client", defenses.parse_file)
    if layers == "head":
        return Known((client.head,), client.input, False)
    bodies = ServerHalf.load(deployment / "server").bodies
    if len(bodies) != 1:
        raise BadInput(f"{len(bodies)} bodies make no single network; read the head's layers")
    net = build(client.manifest.arch, seed=0)
    state: dict[str, Tensor] = {}
    for part in (client.head, *bodies, client.tail):
        assert isinstance(part, Part)
        state |= part_state(part)
    load_exactly(net.net, state, str(deployment))
    return Known((net.eval().requires_grad_(False),), client.input, True)
