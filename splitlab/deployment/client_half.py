"""The client half: head, protectors, secret selector and tail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from splitlab.contracts import Defended, FeatureSpec, InputSpec
from splitlab.data import Splits, aliases, places
from splitlab.deployment.manifest import REMEDY, ClientManifest, read_checked, read_manifest
from splitlab.deployment.same_code import as_deployed, require_answers
from splitlab.deployment.selector import Selector
from splitlab.errors import BadInput, Corrupt, Mismatch
from splitlab.models import build
from splitlab.randomness import Draw, Secret
from splitlab.split import Part, cut, load_part_state, widen
from splitlab.storage import read_json, read_tensors


@dataclass(frozen=True)
class ClientHalf:
    """What only the edge client holds. `repr` shows neither secret nor selector."""

    manifest: ClientManifest
    head: nn.Module = field(repr=False)
    protectors: nn.ModuleList = field(repr=False)
    defended: Defended = field(repr=False)
    selector: Selector = field(repr=False)
    tail: nn.Module = field(repr=False)
    secret: Secret = field(repr=False)

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
        return list(self.manifest.outputs)

    @property
    def wire(self) -> str:
        return self.manifest.wire

    @property
    def max_rows(self) -> int:
        return self.manifest.max_rows

    @property
    def input(self) -> InputSpec:
        return self.manifest.arch.input

    @property
    def classes(self) -> tuple[str, ...]:
        return self.manifest.classes

    def labelled(self, splits: Splits, named: str) -> Splits:
        """`splits` with labels that are this network's outputs.

        Args:
            named: how the data set was given, for the error.

        Raises:
            Mismatch: classes that the network does not tell apart.
        """
        known = self.manifest.folders
        if not known:
            if splits.classes == self.classes:
                return splits
            raise Mismatch(
                f"--dataset {named} has {len(splits.classes)} classes "
                f"({_few(splits.classes)}), the deployment was trained on "
                f"{len(self.classes)} ({_few(self.classes)})"
            )
        if splits.folders:
            return splits
        further = [name for name in splits.classes if name not in known]
        try:
            found = places(further, [aliases((name,)) for name in self.classes])
        except BadInput as error:
            raise Mismatch(
                f"--dataset {named} has classes that the deployment was not told of "
                f"({_few(further)}), and none of its {len(self.classes)} outputs is called so; it "
                f"was told of {_few(list(known))}"
            ) from error
        return splits.relabelled(self.classes, {**found, **known})

    def protect(self, feature: Tensor, draw: Draw) -> Tensor:
        """z [B, *feature_shape] -> z', same shape."""
        for protector in self.protectors:
            feature = protector(feature, draw)
        return feature

    def select(self, outputs: list[Tensor], draw: Draw) -> Tensor:
        """The N bodies' outputs -> what the tail is fed, defences after the bodies included."""
        return self.selector(self.defended.recombine(outputs, draw))

    @classmethod
    @torch.inference_mode(False)
    def load(cls, folder: Path, parse: Callable[[str], Defended]) -> ClientHalf:
        """Read `folder`.

        Args:
            folder: a `client/` folder.
            parse: `defenses.parse_file`, which turns the manifest's text into a stack of defences.

        Raises:
            Corrupt: half-written, damaged, or not a client half.
            NotImported: its network or defence is somebody's own, whose module was not named.
            Mismatch: it is, and its code has changed.
        """
        manifest = read_manifest(folder, ClientManifest)
        read_checked(folder / manifest.file, manifest.sha256)
        tensors = read_tensors(folder / manifest.file, REMEDY)
        read_checked(folder / "secret.json", manifest.secret_sha256)
        hidden = read_json(folder / "secret.json", REMEDY)
        try:
            secret = Secret(bytes.fromhex(hidden["key"]))
            selector = Selector(int(hidden["total"]), tuple(hidden["chosen"]))
        except (KeyError, TypeError, ValueError, BadInput) as error:
            raise Corrupt(folder / "secret.json", "it is damaged", REMEDY) from error
        arch = manifest.arch
        with as_deployed(arch):
            net = build(arch, seed=0)
            parts = cut(net, manifest.head_end, manifest.tail_start, arch.input.shape)
            load_part_state(parts.head, _under(tensors, "head."))
        tail = _tail(parts.tail, selector, _under(tensors, "tail."), manifest, folder)
        named = (("the head", parts.head), ("the tail", tail))
        for (what, part), kept in zip(named, manifest.answers, strict=False):
            require_answers(arch, part.eval(), kept, what)
        defended = parse(manifest.defense)
        # A blank secret: whatever is drawn here is overwritten by the tensors that were saved.
        protectors = defended.protectors(manifest.feature.shape, Secret(bytes(32)))
        try:
            protectors.load_state_dict(_under(tensors, "protectors."))
        except RuntimeError as error:
            first = " ".join(str(error).split())
            raise Corrupt(
                folder / manifest.file, f"noise of another shape or defence: {first}", REMEDY
            ) from error
        for module in (parts.head, protectors, tail):
            module.eval().requires_grad_(False)
        return cls(manifest, parts.head, protectors, defended, selector, tail, secret)


def _tail(
    tail: Part,
    selector: Selector,
    tensors: dict[str, Tensor],
    manifest: ClientManifest,
    folder: Path,
) -> Part:
    """The tail for as many outputs as the selector chooses, with its weights.

    Raises:
        Corrupt: selector, number of bodies and weights do not fit each other.
    """
    hidden, bodies = folder / "secret.json", len(manifest.outputs)
    if selector.total != bodies:
        why = f"its selector is for {selector.total} bodies and the deployment has {bodies}"
        raise Corrupt(hidden, why, REMEDY)
    wide = widen(tail, len(selector.chosen))
    try:
        load_part_state(wide, tensors)
    except Mismatch as error:
        why = f"its selector chooses {len(selector.chosen)} of {bodies} bodies, and the tail was "
        raise Corrupt(hidden, f"{why}trained for another number ({error})", REMEDY) from error
    return wide


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
