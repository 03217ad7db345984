"""Write both halves of a deployment; the manifest comes last, so a kill leaves no valid half."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from splitlab.contracts import ArchSpec, Defended, FeatureSpec
from splitlab.deployment.manifest import ClientManifest, ServerManifest, Shard, WireType
from splitlab.deployment.selector import Selector
from splitlab.errors import BadInput
from splitlab.randomness import Secret
from splitlab.split import Part, part_state
from splitlab.storage import canonical_json, sha256, write_bytes, write_json, write_tensors

MICRO_BATCH_BYTES = 1 << 20  # about 1 MiB a request: head, network and bodies overlap


def write_deployment(
    folder: Path,
    *,
    arch: ArchSpec,
    head_end: str,
    tail_start: str | None,
    head: Part,
    bodies: Sequence[Part],
    tail: Part,
    defended: Defended,
    protectors: nn.ModuleList,
    secret: Secret,
    classes: tuple[str, ...],
    selector: Selector | None = None,
    wire: WireType = "FP32",
    model_name: str = "",
    victims_hash: str = "",
) -> str:
    """Write `folder/client` and `folder/server`; returns the digest of the server half.

    Args:
        folder: must not hold a deployment yet.
        arch: the whole network as data.
        head_end, tail_start: the two split points; no `tail_start` leaves an empty tail.
        head, bodies, tail: parts from `splitlab.split.cut`, trained.
        defended, protectors: the stack of defences and its protectors (their tensors are saved).
        secret: the client's key; keys the noise.
        classes: names of the classes, in the order of the logits.
        victims_hash: hash of the images that are kept for attacks, so that nobody else's
            auxiliary images can be among them by mistake.
        selector: which outputs the tail is fed; default the only one.

    Raises:
        BadInput: there is a deployment already, or no selector was given for several bodies.
    """
    for half in ("client", "server"):
        if (folder / half / "deployment.json").exists():
            raise BadInput(f"{folder / half}: a deployment is there already; choose another --out")
    if selector is None:
        if len(bodies) != 1:
            raise BadInput(f"{len(bodies)} bodies need a selector, none was given")
        selector = Selector(1, (0,))
    shape, outputs = _shapes(arch, head, bodies)
    feature = FeatureSpec(shape=shape)
    max_rows = max(1, min(1024, MICRO_BATCH_BYTES // (4 * math.prod(shape))))
    common = {
        "model_name": model_name or arch.name.replace("/", "."),
        "arch": arch,
        "head_end": head_end,
        "tail_start": tail_start,
        "feature": feature,
        "outputs": outputs,
        "wire": wire,
        "max_rows": max_rows,
    }
    manifest = _write_server(folder / "server", bodies, common)
    client = folder / "client"
    client.mkdir(parents=True, exist_ok=True)
    client.chmod(0o700)
    tensors = {f"head.{k}": v for k, v in part_state(head).items()}
    tensors |= {f"protectors.{k}": v for k, v in protectors.state_dict().items()}
    tensors |= {f"tail.{k}": v for k, v in part_state(tail).items()}
    write_tensors(client / "weights.safetensors", tensors, private=True)
    hidden = {"key": secret.key.hex(), "total": selector.total, "chosen": selector.chosen}
    write_bytes(client / "secret.json", canonical_json(hidden), private=True)
    mine = ClientManifest(
        **common,
        defense=defended.spec,
        classes=classes,
        victims_hash=victims_hash,
        file="weights.safetensors",
        sha256=sha256((client / "weights.safetensors").read_bytes()),
        digest=manifest.digest,
    )
    write_json(client / "deployment.json", mine.model_dump(mode="json"))
    return manifest.digest


def _write_server(
    folder: Path, bodies: Sequence[Part], common: dict[str, object]
) -> ServerManifest:
    shards = []
    for index, body in enumerate(bodies):
        name = f"shard-{index}.safetensors"
        write_tensors(folder / name, {f"{index}.{k}": v for k, v in part_state(body).items()})
        digest = sha256((folder / name).read_bytes())
        shards.append(Shard(bodies=(index,), file=name, sha256=digest))
    draft = ServerManifest.model_validate(
        {**common, "id": secrets.token_hex(16), "shards": tuple(shards)}
    )
    manifest = draft.model_copy(update={"digest": draft.computed_digest()})
    write_json(folder / "deployment.json", manifest.model_dump(mode="json"))
    return manifest


def _shapes(
    arch: ArchSpec, head: Part, bodies: Sequence[Part]
) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """Shapes of one feature and of each body's output, by running two blank images."""
    with torch.inference_mode():
        feature: Tensor = head(torch.zeros(2, *arch.input.shape))
        outputs = [tuple(body(feature).shape[1:]) for body in bodies]
    return tuple(feature.shape[1:]), tuple(outputs)
