"""The server half: N bodies, rebuilt from JSON and safetensors without knowing the defence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from splitlab.contracts import FeatureSpec
from splitlab.deployment.manifest import REMEDY, ServerManifest, read_checked, read_manifest
from splitlab.errors import Corrupt
from splitlab.models import build
from splitlab.split import cut, load_part_state
from splitlab.storage import read_tensors


@dataclass(frozen=True)
class ServerHalf:
    """What the cloud server is given. Bodies map z [B, *feature] to y [B, *outputs[i]]."""

    manifest: ServerManifest
    body_ids: list[int]
    bodies: nn.ModuleList

    @property
    def model_name(self) -> str:
        return self.manifest.model_name

    @property
    def digest(self) -> str:
        return self.manifest.digest

    @property
    def feature(self) -> FeatureSpec:
        return self.manifest.feature

    @property
    def outputs(self) -> list[tuple[int, ...]]:
        """Output shape of each body that this half holds, in the order of `body_ids`."""
        return [self.manifest.outputs[i] for i in self.body_ids]

    @property
    def wire(self) -> str:
        return self.manifest.wire

    @property
    def max_rows(self) -> int:
        return self.manifest.max_rows

    @classmethod
    def load(cls, folder: Path) -> ServerHalf:
        """Read `folder`; every shard whose file is listed must be there and whole.

        Raises:
            Corrupt: half-written, damaged, or not a server half.
            UnknownName: the network is not known to this version.
        """
        manifest = read_manifest(folder, ServerManifest)
        if manifest.digest != manifest.computed_digest():
            raise Corrupt(folder / "deployment.json", "its digest does not fit it", REMEDY)
        bodies: dict[int, nn.Module] = {}
        net = build(manifest.arch, seed=0)
        shape = manifest.arch.input.shape
        for shard in manifest.shards:
            path = folder / shard.file
            read_checked(path, shard.sha256)
            tensors = read_tensors(path, REMEDY)
            for body_id in shard.bodies:
                body = cut(net, manifest.head_end, manifest.tail_start, shape).body
                prefix = f"{body_id}."
                state = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
                load_part_state(body, state)
                bodies[body_id] = body.eval().requires_grad_(False)
        order = sorted(bodies)
        return cls(manifest, order, nn.ModuleList([bodies[i] for i in order]))
