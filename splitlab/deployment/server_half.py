"""The server half: N bodies, rebuilt from JSON and safetensors without knowing the defence."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from splitlab.contracts import FeatureSpec
from splitlab.deployment.manifest import REMEDY, ServerManifest
from splitlab.deployment.same_code import as_deployed, require_answers
from splitlab.deployment.shards import choose_shards, read_server_manifest
from splitlab.models import build
from splitlab.split import cut, load_part_state
from splitlab.storage import read_tensors


@dataclass(frozen=True)
class ServerHalf:
    """What a cloud server is given: all bodies of a deployment, or some of them.

    Bodies map z [B, *feature] to y [B, *outputs[i]].
    """

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
    @torch.inference_mode(False)
    def load(cls, folder: Path, bodies: Sequence[int] | None = None) -> ServerHalf:
        """Read `folder`; shards of bodies that are not wanted may be absent.

        Args:
            folder: a `server/` folder, or one with some of its shards.
            bodies: ids of the bodies to hold; None for all whose shard is there.

        Raises:
            BadInput: `bodies` is empty, names one twice, or one that does not exist.
            Corrupt: half-written, damaged, not a server half, or a wanted shard is absent.
            UnknownName: the network is not known to this version.
            NotImported: it is somebody's own, and its module was not named.
            Mismatch: it is, and its code has changed.
        """
        manifest = read_server_manifest(folder)
        chosen = choose_shards(folder, manifest, bodies)
        held: dict[int, nn.Module] = {}
        arch = manifest.arch
        with as_deployed(arch):
            net = build(arch, seed=0)
            blank = cut(net, manifest.head_end, manifest.tail_start, arch.input.shape).body
        for shard, ids in chosen:
            tensors = read_tensors(folder / shard.file, REMEDY)
            for body_id in ids:
                body = copy.deepcopy(blank)
                prefix = f"{body_id}."
                state = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
                with as_deployed(arch):
                    load_part_state(body, state)
                if body_id < len(manifest.answers):
                    kept = manifest.answers[body_id]
                    require_answers(arch, body.eval(), kept, f"body {body_id}")
                held[body_id] = body.eval().requires_grad_(False)
        order = sorted(held)
        return cls(manifest, order, nn.ModuleList([held[i] for i in order]))
