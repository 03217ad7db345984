"""Whether a folder that is continued was begun with the same code of a user's own network."""

from __future__ import annotations

from pathlib import Path

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
    net = build(arch, seed=0).eval()
    shapes = {key: list(value.shape) for key, value in net.net.state_dict().items()}
    answers = list(some_of_answer(net, arch.input.shape))
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
