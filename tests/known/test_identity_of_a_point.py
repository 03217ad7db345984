"""Which points are the same: what changes a point's config and hash, and what does not."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from adversary.inversion.rmle.attack import RMLE
from bench.point.grants import GrantRequest
from bench.point.identity.config import LABELS, PointConfig
from bench.point.identity.config import identity as name_of
from bench.point.measure import Plan, point_of
from bench.point.recipe import SweepConfig, validated
from splitlab.record import point_hash
from splitlab.record.record import METHOD_VERSION
from splitlab.training import TrainRecipe

DATA = "d" * 64
GRANT = GrantRequest(head=True, auxiliary=8)
NOT_OF_A_POINT = {"splits", "attacks", "device", "granularity", "wires", "keep_images"}


def point(split: str, attack: str, knowledge: Any, **fields: Any) -> PointConfig:
    grant = fields.pop("grant", GRANT)
    return point_of(validated(**fields), split, Plan(attack, knowledge, grant))


def identity(
    split: str = "conv1", attack: str = "rmle", knowledge: Any = "undefended", **f: Any
) -> str:
    return name_of(point(split, attack, knowledge, **f), DATA)


def by_hand(config: dict[str, Any], data: str, version: int) -> str:
    """SHA-256 over the three parts, each after its length in eight bytes."""
    text = json.dumps(config, sort_keys=True, separators=(",", ":")).encode()
    digest = hashlib.sha256()
    for part in (text, data.encode(), version.to_bytes(4, "little")):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def test_the_hash_is_that_of_config_data_and_version_of_the_methods() -> None:
    config = {"b": 1, "a": [None, 0.5, {"z": "é"}]}
    assert point_hash(config, DATA) == by_hand(config, DATA, METHOD_VERSION)
    assert point_hash({"a": config["a"], "b": 1}, DATA) == point_hash(config, DATA)
    assert point_hash({**config, "b": 2}, DATA) != point_hash(config, DATA)
    assert point_hash(config, "e" * 64) != point_hash(config, DATA)
    assert point_hash({}, "") == by_hand({}, "", METHOD_VERSION)


def test_another_version_of_the_methods_is_another_point(monkeypatch: pytest.MonkeyPatch) -> None:
    before = point_hash({}, DATA)
    monkeypatch.setattr("splitlab.record.record.METHOD_VERSION", METHOD_VERSION + 1)
    assert point_hash({}, DATA) == by_hand({}, DATA, METHOD_VERSION + 1) != before


def test_a_number_that_is_none_has_no_identity() -> None:
    with pytest.raises(ValueError, match="JSON"):
        point_hash({"a": float("nan")}, DATA)


@pytest.mark.parametrize(
    "same",
    [
        {"splits": "all"},
        {"attacks": ("rmle",)},
        {"device": "cpu"},
        {"granularity": "operation"},
        {"wires": ("INT8",)},
        {"links": ()},
        {"attack_options": {"decoder": {"epochs": 5}}},
        {"attacked": {"rmle": 8, "decoder": 3}},
        {"size": 32, "seed": 0, "wire": "FP32", "defense": "none", "repeats": 1},
        {"tail_start": None, "weights_hash": None},
    ],
)
def test_what_other_points_and_places_are_does_not_change_a_point(same: dict[str, Any]) -> None:
    assert identity(**same) == identity()


CHANGES: dict[str, Any] = {
    "model": "vgg11",
    "dataset": "cifar10",
    "size": 64,
    "mean": (0.5, 0.5, 0.5),
    "std": (0.5, 0.5, 0.5),
    "tail_start": "fc",
    "defense": "gaussian",
    "train_with_defense": True,
    "wire": "INT8",
    "attack_options": {"rmle": {"steps": 5}},
    "attacked": {"rmle": 9},
    "train_images": 100,
    "queries": 100,
    "validation_images": 10,
    "victims": 10,
    "repeats": 2,
    "links": ("lte",),
    "victim": TrainRecipe(epochs=1),
    "weights_hash": "a" * 64,
    "weights_key": "model_ema",
    "labels_hash": "b" * 64,
    "new_classifier": True,
    "freeze": "layer1",
    "seed": 1,
}


@pytest.mark.parametrize("field", list(CHANGES))
def test_what_a_point_depends_on_changes_it(field: str) -> None:
    assert identity(**{field: CHANGES[field]}) != identity()


def test_every_field_is_known_to_change_a_point_or_not_to() -> None:
    """A field that is added has to say which it is."""
    assert set(CHANGES) | NOT_OF_A_POINT >= set(SweepConfig.model_fields)
    assert not set(CHANGES) & NOT_OF_A_POINT


def test_split_attack_and_knowledge_are_part_of_a_point() -> None:
    names = [
        ("conv1", "rmle", "undefended"),
        ("conv2", "rmle", "undefended"),
        ("conv1", "decoder", "undefended"),
        ("conv1", "rmle", "adaptive"),
        ("conv1", "rmle", "unaware"),
    ]
    assert len({identity(*name) for name in names}) == len(names)
    one = point("conv1", "rmle", "adaptive").as_dict()
    assert (one["split"], one["attack"], one["knowledge"]) == ("conv1", "rmle", "adaptive")
    assert one["attacked"] == 8
    assert point("conv1", "decoder", "adaptive").attacked is None


def test_every_setting_is_filled_in_so_that_a_new_default_is_another_point() -> None:
    bare, said = (
        point("conv1", "rmle", "undefended", attack_options={"rmle": options})
        for options in ({}, {"box": True, "steps": None})
    )
    assert bare == said
    assert bare.attack_options["box"] is True
    # What the budget on large images may cut stays open, and is no part of the defaults' numbers.
    assert {bare.attack_options[name] for name in ("start", "steps", "choose_steps")} == {None}
    assert bare.packages == {"attack rmle": f"version {RMLE.version}"}
    assert point("conv1", "rmle", "unaware", defense="gaussian").defense.startswith(
        "gaussian:draw="
    )


def test_what_is_granted_is_part_of_a_point_and_what_it_is_called_is_not() -> None:
    more = GrantRequest(head=True, auxiliary=9)
    assert identity(grant=more) != identity()
    one = point("conv1", "rmle", "undefended")
    called = dict.fromkeys(LABELS, "another")
    assert name_of(one.model_copy(update=called), DATA) == name_of(one, DATA)
    other = one.model_copy(update={"stream": ("rmle",)})
    assert name_of(other, DATA) != name_of(one, DATA)


def test_a_folder_s_path_is_no_part_of_a_point() -> None:
    one, other = "imagefolder:/a", "imagefolder:/b"
    assert identity(dataset=one) == identity(dataset=other)
    assert point("conv1", "rmle", "undefended", dataset=one).dataset == "imagefolder"


def test_each_wire_has_its_config() -> None:
    config = validated(wire="FP16", wires=("INT8", "FP16", "FP32"))
    made = config.on_each_wire
    assert {suffix: one.wire for suffix, one in made.items()} == {
        "": "FP16",
        "-INT8": "INT8",
        "-FP32": "FP32",
    }
    assert all(one.wires == () for one in made.values())


def test_a_file_among_the_settings_counts_by_what_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adversary.inversion.drag.folder._library", lambda: None)
    for name, weights in (("one", b"a"), ("same", b"a"), ("other", b"b")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text('{"_class_name": "UNet2DModel"}')
        (tmp_path / name / "diffusion_pytorch_model.safetensors").write_bytes(weights)
    one, same, other = (
        point("conv1", "drag", "undefended", attack_options={"drag": {"prior": str(tmp_path / n)}})
        for n in ("one", "same", "other")
    )
    assert one.attack_options["prior"] == str(tmp_path / "one")  # a worker reads it there
    assert name_of(one, DATA) == name_of(same, DATA) != name_of(other, DATA)
    assert str(tmp_path) not in json.dumps(one.as_dict())
    assert PointConfig.model_validate(one.as_dict()).as_dict() == one.as_dict()
    (tmp_path / "one" / "scheduler_config.json").write_text('{"beta_end": 0.5}')
    assert name_of(one, DATA) != name_of(same, DATA)
