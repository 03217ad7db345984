"""Write both halves of a deployment; the manifest comes last, so a kill leaves no valid half."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from splitlab.contracts import ArchSpec, Defended, FeatureSpec
from splitlab.deployment.equality import check_equality
from splitlab.deployment.halves import Halves
from splitlab.deployment.manifest import ClientManifest, ServerManifest, Shard, WireType
from splitlab.deployment.same_code import answers_of
from splitlab.errors import BadInput
from splitlab.randomness import Secret
from splitlab.split import Part, part_state
from splitlab.storage import canonical_json, sha256, write_bytes, write_json, write_tensors
from splitlab.wire import micro_batch_rows

MAX_ROWS = 1024
"""Of a micro-batch, however small its features."""


def write_deployment(
    folder: Path,
    halves: Halves,
    *,
    defended: Defended,
    secret: Secret,
    classes: tuple[str, ...],
    folders: Mapping[str, int] | None = None,
    wire: WireType = "FP32",
    model_name: str = "",
    victims_hash: str = "",
) -> str:
    """Write `folder/client` and `folder/server`; returns the digest of the server half.

    Args:
        folder: must not hold a deployment yet.
        halves: head, bodies, tail, protectors (their tensors are saved) and selector, trained.
        defended: the stack of defences that the protectors belong to.
        secret: the client's key; keys the noise.
        classes: names of the classes, in the order of the logits.
        folders: class of the data -> number of the logit, where the data's own classes are others.
        victims_hash: hash of the images that are kept for attacks, so that nobody else's
            auxiliary images can be among them by mistake.

    Raises:
        BadInput: there is a deployment already, or the parts do not fit each other.
        Mismatch: they do not answer as the whole network does; nothing is written.
    """
    for half in ("client", "server"):
        if (folder / half / "deployment.json").exists():
            raise BadInput(f"{folder / half}: a deployment is there already; choose another --out")
    halves.check()
    check_equality(halves)
    shape = halves.head.output_shape
    feature = FeatureSpec(shape=shape)
    max_rows = micro_batch_rows(shape, "FP32", MAX_ROWS)
    common = {
        "model_name": model_name or _served_name(halves.arch.name),
        "arch": halves.arch,
        "head_end": halves.head_end,
        "tail_start": halves.tail_start,
        "feature": feature,
        "outputs": tuple(body.output_shape for body in halves.bodies),
        "wire": wire,
        "max_rows": max_rows,
    }
    manifest = _write_server(folder / "server", halves.arch, halves.bodies, common)
    client = folder / "client"
    client.mkdir(parents=True, exist_ok=True)
    client.chmod(0o700)
    tensors = {f"head.{k}": v for k, v in part_state(halves.head).items()}
    tensors |= {f"protectors.{k}": v for k, v in halves.protectors.state_dict().items()}
    tensors |= {f"tail.{k}": v for k, v in part_state(halves.tail).items()}
    write_tensors(client / "weights.safetensors", tensors, private=True)
    chosen = {"total": halves.selector.total, "chosen": halves.selector.chosen}
    hidden = {"key": secret.key.hex(), **chosen}
    write_bytes(client / "secret.json", canonical_json(hidden), private=True)
    mine = ClientManifest(
        **common,
        defense=defended.spec,
        classes=classes,
        folders=dict(folders or {}),
        victims_hash=victims_hash,
        file="weights.safetensors",
        sha256=sha256((client / "weights.safetensors").read_bytes()),
        secret_sha256=sha256((client / "secret.json").read_bytes()),
        digest=manifest.digest,
        answers=answers_of(halves.arch, (halves.head, halves.tail)),
    )
    write_json(client / "deployment.json", mine.model_dump(mode="json"))
    return manifest.digest


def _served_name(name: str) -> str:
    """A network's name with letters that a model's on the wire may have, its end if it is long."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name.replace("/", ".").replace(":", "."))[-128:]


def _write_server(
    folder: Path, arch: ArchSpec, bodies: Sequence[Part], common: dict[str, object]
) -> ServerManifest:
    shards = []
    for index, body in enumerate(bodies):
        name = f"shard-{index}.safetensors"
        write_tensors(folder / name, {f"{index}.{k}": v for k, v in part_state(body).items()})
        digest = sha256((folder / name).read_bytes())
        shards.append(Shard(bodies=(index,), file=name, sha256=digest))
    kept = {"answers": answers_of(arch, bodies), "shards": tuple(shards)}
    draft = ServerManifest.model_validate({**common, **kept, "id": secrets.token_hex(16)})
    manifest = draft.model_copy(update={"digest": draft.computed_digest()})
    write_json(folder / "deployment.json", manifest.model_dump(mode="json"))
    return manifest
