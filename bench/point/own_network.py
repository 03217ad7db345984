"""Whether a folder that is continued was begun with the same code of a user's own network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from splitlab.contracts import ArchSpec
from splitlab.contracts.arch import is_own
from splitlab.deployment.same_code import differs, some_of_answer
from splitlab.errors import BadInput
from splitlab.models import build
from splitlab.storage import read_json, write_json

NAME = "network.json"


def require_same_network(folder: Path, arch: ArchSpec) -> None:
    """Keep in `folder` which tensors the network has and what it answers before it is trained.

    Networks of the lab and of libraries are known by their name, and nothing is kept of them.

    Raises:
        BadInput: it was another one when the folder was begun.
    """
    if not is_own(arch.name):
        return
    shapes, answers = _about(arch)
    kept = folder / NAME
    if not kept.exists():
        write_json(kept, {"name": arch.name, "tensors": shapes, "answers": answers})
        return
    was = read_json(kept, f"start in a folder other than {folder}")
    if was.get("tensors") != shapes:
        told = "has other layers than"
    elif differs(answers, was.get("answers", ())):
        told = "answers otherwise, before any training, than"
    else:
        return
    raise BadInput(
        f"{folder}: {arch.name} {told} when this folder was begun; its code (or a package that it "
        "uses) has changed, and what is finished is of the old one: choose another --out"
    )


def told_apart(arch: ArchSpec) -> dict[str, Any] | None:
    """What tells a user's own network from another of its name; None where the name says it all.

    Answers are rounded to what machines agree on; where they do not, it counts as another network.
    """
    if not is_own(arch.name):
        return None
    shapes, answers = _about(arch)
    return {"tensors": shapes, "answers": [f"{value:.3g}" for value in answers]}


def _about(arch: ArchSpec) -> tuple[dict[str, list[int]], list[float]]:
    """Its tensors, and some of what it answers before any training."""
    net = build(arch, seed=0).eval()
    shapes = {key: list(value.shape) for key, value in net.net.state_dict().items()}
    return shapes, list(some_of_answer(net, arch.input.shape))
