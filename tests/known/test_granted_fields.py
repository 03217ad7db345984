"""Each field of a request grants exactly what it says, and nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from deployed import ARCH, CHOSEN, SHAPE, client_of, deployed, halves, splits
from tables import SIZE, distinct

from adversary.contract.threat import ThreatModel
from adversary.synthesis.folder import MadeImages
from bench.point import grants
from bench.point.grants import GrantRequest, adversary_images, make_threat, query, threat_of
from splitlab.errors import BadInput, Mismatch
from splitlab.storage import read_tensors

DEFENSE = "gaussian:level=0.5,draw=fixed"
ALWAYS = {"arch", "head_end", "tail_start", "feature", "input", "wire"}
"""What any capture and any deployment's architecture shows."""
SPLITS = splits()
IMAGES = distinct(3)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return deployed(tmp_path_factory.mktemp("deployment"), DEFENSE, wire="FP16")


def granted(place: Path, seed: int = 0, **fields: Any) -> ThreatModel:
    options = {key: fields.pop(key) for key in ("capture_there", "made", "name") if key in fields}
    if "capture_there" in options:
        options["capture"] = options.pop("capture_there")
    return make_threat(place, GrantRequest(**fields), SPLITS, seed, **options)


SEEN = torch.arange(4 * 8 * 16 * 16).float().view(4, *SHAPE)


@pytest.mark.parametrize(
    ("fields", "more"),
    [
        ({"head": True}, {"head"}),
        ({"defense": True}, {"defense"}),
        ({"defense": True, "noise": True}, {"defense", "protectors"}),
        ({"bodies": True}, {"bodies"}),
        ({"tail": True}, {"tail"}),
        ({"selector": True}, {"selector"}),
        ({"P": True}, {"P"}),
        ({"auxiliary": 5}, {"aux"}),
        ({"validation": 2}, set()),
        ({"auxiliary": 5, "validation": 2}, {"aux"}),
        ({"observe": 5}, {"aux", "observe"}),
        ({"observe": 5, "linked": 2}, {"aux", "observe"}),
        ({"capture": True, "capture_there": SEEN}, {"capture"}),
        ({"head": True, "capture_there": SEEN}, {"head"}),
        ({"head": True, "name": "adaptive"}, {"head", "name"}),
    ],
)
def test_a_field_grants_itself_and_nothing_else(
    place: Path, fields: dict[str, Any], more: set[str]
) -> None:
    assert set(granted(place, **fields).granted()) == ALWAYS | more


def test_what_is_always_known_is_the_deployment_s(place: Path) -> None:
    threat = granted(place, P=True)
    assert (threat.arch, threat.head_end, threat.tail_start) == (ARCH, "block1", "pool")
    assert threat.feature is not None
    assert (threat.feature.shape, threat.input, threat.wire) == (SHAPE, ARCH.input, "FP16")
    assert threat.name == ""
    assert granted(place, P=True, name="unaware").name == "unaware"
    assert threat_of(client_of(place), None, GrantRequest(P=True), SPLITS, 0).name == ""


def test_granted_parts_are_the_very_ones(place: Path) -> None:
    own = halves(DEFENSE)
    threat = granted(place, head=True, tail=True, bodies=True, defense=True, noise=True)
    assert threat.head is not None
    assert threat.bodies is not None
    assert threat.tail is not None
    assert threat.protectors is not None
    with torch.no_grad():
        z = own.head(IMAGES.floats())
        assert torch.equal(threat.head(IMAGES.floats()), z)
        outputs = [body(z) for body in own.bodies]
        assert len(threat.bodies) == 3
        for mine, output in zip(threat.bodies, outputs, strict=True):
            assert torch.allclose(mine(z), output, atol=1e-6)
        fed = own.selector(outputs)
        assert torch.allclose(threat.tail(fed), own.tail(fed), atol=1e-6)
    assert threat.defense == "gaussian:draw=fixed,level=0.5"
    kept = read_tensors(place / "client" / "weights.safetensors")["protectors.0.noise"]
    assert torch.equal(threat.protectors[0].noise, kept)


def test_the_selector_and_how_many_it_chooses_are_two_grants(place: Path) -> None:
    assert granted(place, selector=True).selector == CHOSEN
    assert granted(place, selector=True).P is None
    assert granted(place, P=True).P == 2
    assert granted(place, P=True).selector is None


def test_auxiliary_images_are_of_that_partition_and_follow_from_the_seed(place: Path) -> None:
    threat = granted(place, auxiliary=5, validation=2)
    assert threat.aux is not None
    assert threat.observe is None
    assert threat.aux.kind == "same distribution"
    assert threat.aux.images.content == SPLITS.auxiliary.take(5, 0).content
    assert threat.aux.validation.content == SPLITS.validation.take(2, 0).content
    assert set(threat.aux.images.content).isdisjoint(SPLITS.victims.content)
    other = granted(place, seed=1, auxiliary=5, validation=2)
    assert other.aux is not None
    assert other.aux.images.content == SPLITS.auxiliary.take(5, 1).content
    assert other.aux.images.content != threat.aux.images.content
    alone = granted(place, auxiliary=5)
    assert alone.aux is not None
    assert len(alone.aux.validation) == 0


@pytest.mark.parametrize("auxiliary", [0, 4, 9])
def test_queries_are_the_first_of_its_own_images(place: Path, auxiliary: int) -> None:
    threat = granted(place, observe=6, auxiliary=auxiliary)
    assert threat.aux is not None
    assert threat.observe is not None
    own = SPLITS.auxiliary.take(max(auxiliary, 6), 0)
    assert threat.aux.images.content == own.content
    assert threat.observe.images.content == own.content[:6]
    answers = query(client_of(place), own.subset(range(6)))
    assert torch.equal(threat.observe.features, answers)


def test_linked_queries_reach_the_threat_model(tmp_path: Path) -> None:
    folder = deployed(tmp_path, "gaussian:level=1")
    threat = granted(folder, observe=4, linked=3)
    assert threat.observe is not None
    own = SPLITS.auxiliary.take(4, 0)
    assert torch.equal(threat.observe.features, query(client_of(folder), own, 3))
    assert not torch.equal(threat.observe.features, query(client_of(folder), own, 1))


def test_a_capture_is_granted_where_it_is_asked_for(place: Path) -> None:
    threat = granted(place, capture=True, capture_there=SEEN)
    assert threat.capture is not None
    assert torch.equal(threat.capture, SEEN)
    with pytest.raises(BadInput, match="tap the deployment"):
        granted(place, capture=True)
    with pytest.raises(Mismatch, match="give the capture of this deployment"):
        granted(place, capture=True, capture_there=SEEN[:, :4])


def test_synthetic_images_stand_in_for_all_real_ones(place: Path) -> None:
    made = MadeImages(distinct(12, seed=9), {"seconds": 1.5})
    threat = granted(place, synthetic="head", auxiliary=3, observe=5, validation=4, made=made)
    assert threat.aux is not None
    assert threat.observe is not None
    assert (threat.aux.kind, threat.aux.layers) == ("synthetic", "head")
    assert threat.aux.making == {"seconds": 1.5}
    assert threat.aux.images.content == made.images.content[:5]
    assert threat.aux.validation.content == made.images.content[5:9]
    assert threat.observe.images.content == made.images.content[:5]
    network = granted(place, synthetic="network", auxiliary=3, made=made)
    assert network.aux is not None
    assert network.aux.layers == "network"
    for fields in ({"synthetic": "head", "auxiliary": 3}, {"head": True, "made": made}):
        with pytest.raises(BadInput, match="if and only if"):
            granted(place, **fields)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "nothing is granted"),
        ({"linked": 4}, "nothing is granted"),
        ({"noise": True}, "noise is part of the defence"),
        ({"auxiliary": 21}, "21 auxiliary images were asked for, there are 20"),
        ({"observe": 21}, "21 auxiliary images"),
        ({"validation": 7}, "7 validation images were asked for, there are 6"),
    ],
)
def test_what_cannot_be_granted_is_refused(place: Path, fields: Any, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        granted(place, **fields)


def test_all_the_images_there_are_can_be_granted(place: Path) -> None:
    threat = granted(place, auxiliary=20, validation=6)
    assert threat.aux is not None
    assert (len(threat.aux.images), len(threat.aux.validation)) == (20, 6)


def test_bodies_are_read_only_where_they_are_granted(tmp_path: Path) -> None:
    """A client half alone serves for everything else."""
    deployed(tmp_path)
    (tmp_path / "server" / "deployment.json").unlink()
    assert granted(tmp_path, head=True).bodies is None


def test_the_card_says_what_was_granted_and_no_more() -> None:
    assert GrantRequest().card() == {"box": "black"}
    assert GrantRequest(observe=5, linked=3).card() == {"observe": 5, "linked": 3, "box": "black"}
    assert GrantRequest(head=True, linked=1).card() == {"head": True, "box": "white"}
    everything = GrantRequest(
        *[True] * 6, 9, 2, 5, 2, P=True, capture=True, synthetic="network"
    ).card()
    assert everything == {
        **dict.fromkeys(("head", "defense", "noise", "bodies", "tail", "selector"), True),
        "auxiliary": 9,
        "validation": 2,
        "observe": 5,
        "linked": 2,
        "P": True,
        "capture": True,
        "synthetic": "network",
        "box": "white",
    }
    fields = dataclasses.fields(GrantRequest)
    assert {f.name: f.default for f in fields if f.default} == {"linked": 1}


def test_the_adversary_s_images_come_from_the_data_set_of_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def load(name: str, **options: Any) -> Any:
        asked.append((name, options))
        return SPLITS

    monkeypatch.setattr(grants, "load_splits", load)
    mine = deployed(tmp_path / "mine", victims_hash=SPLITS.victims.hash)
    assert adversary_images(mine, "photos", 3, tmp_path, True) is SPLITS
    assert asked == [("photos", {"size": SIZE, "seed": 3, "root": tmp_path, "download": True})]
    assert adversary_images(deployed(tmp_path / "old"), "photos", 3, None, False) is SPLITS
    other = deployed(tmp_path / "other", victims_hash="0" * 64)
    with pytest.raises(Mismatch, match="other victims"):
        adversary_images(other, "photos", 3, None, False)


def test_the_adversary_s_images_are_labelled_with_the_network_s_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outputs a, b and c stand for the folders c, b and a: labels 0 1 2 0 become 2 1 0 2."""
    monkeypatch.setattr(grants, "load_splits", lambda *_, **__: SPLITS)
    turned = deployed(tmp_path / "turned", folders={"a": 2, "b": 1, "c": 0})
    found = adversary_images(turned, "photos", 0, None, False)
    assert found.auxiliary.labels[:4].tolist() == [2, 1, 0, 2]
    assert torch.equal(found.auxiliary.images, SPLITS.auxiliary.images)
    outputs = ("x", "y", "z")
    strange = deployed(tmp_path / "strange", folders={"x": 0, "y": 1, "z": 2}, classes=outputs)
    with pytest.raises(Mismatch, match=r"^--dataset photos has classes that"):
        adversary_images(strange, "photos", 0, None, False)
