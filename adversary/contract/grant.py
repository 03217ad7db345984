"""A grant on disk: all that an adversary's process is given, without any client half.

`grant.json` says which fields are granted and holds those that are data; `grant.safetensors` holds
tensors under "head.", "bodies.<i>.", "tail.", "protectors.", "aux.", "held_out.", "observe.".
Networks are rebuilt from the architecture, so nothing is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import Tensor, nn

import defenses
from adversary.contract.threat import AuxImages, Observed, ThreatModel
from splitlab.contracts import ArchSpec, FeatureSpec, InputSpec
from splitlab.data import ImageSet
from splitlab.errors import BadInput, Corrupt, NotImported, SplitLabError
from splitlab.models import build
from splitlab.randomness import Secret
from splitlab.split import Part, cut, load_part_state, part_state
from splitlab.storage import hash_tensors, read_json, read_tensors, write_json, write_tensors

FORMAT = "splitlab/grant/1"
REMEDY = "write it again with `bench grant`"
PLAIN = ("name", "wire", "head_end", "tail_start", "defense", "P")


def write_grant(folder: Path, threat: ThreatModel) -> None:
    """Write `threat`; the manifest comes last, so a half-written grant is no grant.

    Raises:
        BadInput: there is a grant in `folder` already, or sentences are granted.
    """
    if threat.sentences is not None:
        raise BadInput("sentences cannot be granted on disk; run_attack takes them from memory")
    if (folder / "grant.json").exists():
        raise BadInput(f"{folder}: a grant is there already; choose another --out")
    tensors: dict[str, Tensor] = {}
    content: dict[str, Any] = {"format": FORMAT, **{k: getattr(threat, k) for k in PLAIN}}
    for key in ("arch", "feature", "input"):
        value = getattr(threat, key)
        content[key] = value.model_dump(mode="json") if value is not None else None
    content["selector"] = list(threat.selector) if threat.selector is not None else None
    for key in ("head", "tail"):
        part = getattr(threat, key)
        content[key] = part is not None
        if part is not None:
            tensors |= {f"{key}.{n}": v for n, v in part_state(_part(part)).items()}
    content["bodies"] = len(threat.bodies) if threat.bodies is not None else 0
    for index, body in enumerate(threat.bodies or []):
        tensors |= {f"bodies.{index}.{n}": v for n, v in part_state(_part(body)).items()}
    content["protectors"] = threat.protectors is not None
    if threat.protectors is not None:
        tensors |= {f"protectors.{n}": v for n, v in threat.protectors.state_dict().items()}
    content["aux"] = _put_aux(threat.aux, tensors)
    content["observe"] = _put_images("observe", threat.observe, tensors)
    if threat.observe is not None:
        tensors["observe.features"] = threat.observe.features
    for key in ("bn_stats", "gradients"):
        named = getattr(threat, key)
        content[key] = named is not None
        tensors |= {f"{key}.{n}": v for n, v in (named or {}).items()}
    for key in ("outputs", "capture"):
        value = getattr(threat, key)
        content[key] = value is not None
        if value is not None:
            tensors[key] = value
    content["tensors"] = hash_tensors(tensors)
    write_tensors(folder / "grant.safetensors", tensors)
    write_json(folder / "grant.json", content)


def read_grant(folder: Path) -> ThreatModel:
    """The threat model in `folder`.

    Raises:
        Corrupt: half-written, damaged, or not a grant.
        NotImported: its network or defence is somebody's own.
    """
    path = folder / "grant.json"
    content = read_json(path, REMEDY)
    if content.get("format") != FORMAT:
        raise Corrupt(path, f"is {content.get('format')!r}, {FORMAT!r} was wanted", REMEDY)
    tensors = read_tensors(folder / "grant.safetensors", REMEDY)
    if hash_tensors(tensors) != content.get("tensors"):
        raise Corrupt(folder / "grant.safetensors", "its tensors are not those granted", REMEDY)
    try:
        return _threat(content, tensors)
    except NotImported:
        raise
    except (KeyError, TypeError, ValueError, ValidationError, RuntimeError, SplitLabError) as error:
        raise Corrupt(path, f"it is damaged ({error})", REMEDY) from error


def _threat(content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> ThreatModel:
    arch = ArchSpec.model_validate(content["arch"]) if content["arch"] else None
    feature = FeatureSpec.model_validate(content["feature"]) if content["feature"] else None
    given = InputSpec.model_validate(content["input"]) if content["input"] else None
    fields: dict[str, Any] = {key: content[key] for key in PLAIN}
    if content["head"] or content["tail"] or content["bodies"]:
        if arch is None:
            raise ValueError("networks are granted without their architecture")
        fields |= _networks(arch, content, tensors)
    stack = defenses.parse_file(content["defense"] or "none")
    if content["protectors"]:
        if feature is None:
            raise ValueError("protectors are granted without the feature's shape")
        # A blank secret: what is drawn here is overwritten by the tensors that were granted.
        fields["protectors"] = stack.protectors(feature.shape, Secret(bytes(32)))
        fields["protectors"].load_state_dict(_under(tensors, "protectors."))
    if content["observe"]:
        images = _take_images("observe", content["observe"], tensors)
        fields["observe"] = Observed(images, tensors["observe.features"])
    if content["aux"]:
        fields["aux"] = AuxImages(
            _take_images("aux", content["aux"]["images"], tensors),
            _take_images("held_out", content["aux"]["validation"], tensors),
            content["aux"]["kind"],
            content["aux"].get("layers", ""),
            content["aux"].get("making", {}),
        )
    for key in ("bn_stats", "gradients"):
        fields[key] = _under(tensors, f"{key}.") if content[key] else None
    for key in ("outputs", "capture"):
        fields[key] = tensors[key] if content[key] else None
    selector = content["selector"]
    return ThreatModel(
        arch=arch,
        feature=feature,
        input=given,
        selector=tuple(selector) if selector is not None else None,
        **fields,
    )


def _networks(
    arch: ArchSpec, content: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> dict[str, Any]:
    net = build(arch, seed=0)
    found: dict[str, Any] = {}
    for key in ("head", "tail"):
        if content[key]:
            parts = cut(net, content["head_end"], content["tail_start"], arch.input.shape)
            part = parts.head if key == "head" else parts.tail
            load_part_state(part, _under(tensors, f"{key}."))
            found[key] = part
    bodies = nn.ModuleList()
    for index in range(content["bodies"]):
        body = cut(net, content["head_end"], content["tail_start"], arch.input.shape).body
        load_part_state(body, _under(tensors, f"bodies.{index}."))
        bodies.append(body)
    return found | ({"bodies": bodies} if len(bodies) else {})


def _part(module: nn.Module) -> Part:
    """Only what was cut from a network can be rebuilt from its architecture."""
    if not isinstance(module, Part):
        raise BadInput(f"a {type(module).__name__} cannot be granted on disk; give a cut part")
    return module


def _put_aux(aux: AuxImages | None, tensors: dict[str, Tensor]) -> dict[str, Any] | None:
    if aux is None:
        return None
    return {
        "kind": aux.kind,
        "layers": aux.layers,
        "making": dict(aux.making),
        "images": _put_images("aux", aux, tensors),
        "validation": _put_set("held_out", aux.validation, tensors),
    }


def _put_images(
    key: str, holder: AuxImages | Observed | None, tensors: dict[str, Tensor]
) -> dict[str, Any] | None:
    return None if holder is None else _put_set(key, holder.images, tensors)


def _put_set(key: str, images: ImageSet, tensors: dict[str, Tensor]) -> dict[str, Any]:
    tensors |= {
        f"{key}.images": images.images,
        f"{key}.labels": images.labels,
        f"{key}.groups": images.groups,
    }
    return {"classes": list(images.classes), "name": images.name}


def _take_images(key: str, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> ImageSet:
    return ImageSet(
        images=tensors[f"{key}.images"],
        labels=tensors[f"{key}.labels"],
        classes=tuple(facts["classes"]),
        groups=tensors[f"{key}.groups"],
        name=facts["name"],
    )


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
