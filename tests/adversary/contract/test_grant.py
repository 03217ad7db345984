"""Grants on disk hold what was granted and nothing else, and damage is noticed."""

import json

import pytest
import torch
from worlds import AUX, INPUT, SECRET, VICTIMS, capture

from adversary.contract.grant import read_grant, write_grant
from adversary.contract.threat import Observed, ThreatModel
from defenses import parse
from splitlab.contracts import ArchSpec, FeatureSpec
from splitlab.errors import BadInput, Corrupt, MissingKnowledge
from splitlab.models import build
from splitlab.split import cut

ARCH = ArchSpec(name="tiny_cnn", input=INPUT)
DEFENSE = "gaussian:level=0.5,draw=fixed"


def full() -> ThreatModel:
    parts = cut(build(ARCH, seed=4), "block1", "block3", INPUT.shape)
    shape = (8, 16, 16)
    return ThreatModel(
        name="all",
        arch=ARCH,
        head_end="block1",
        tail_start="block3",
        feature=FeatureSpec(shape=shape),
        input=INPUT,
        wire="FP16",
        head=parts.head,
        bodies=torch.nn.ModuleList([parts.body]),
        tail=parts.tail,
        defense=parse(DEFENSE).spec,
        protectors=parse(DEFENSE).protectors(shape, SECRET),
        selector=(0,),
        aux=AUX,
        observe=Observed(AUX.validation, capture(parts.head, pixels=AUX.validation.floats())),
    )


def test_everything_comes_back_as_it_was(tmp_path):
    given = full()
    write_grant(tmp_path, given)
    back = read_grant(tmp_path)
    assert back.granted() == given.granted()
    assert back.wire == "FP16"
    assert back.selector == (0,)
    assert back.arch == ARCH
    z = given.head(VICTIMS)
    assert torch.equal(back.head(VICTIMS), z)
    assert torch.equal(back.bodies[0](z), given.bodies[0](z))
    y = given.bodies[0](z)
    assert torch.equal(back.tail(y), given.tail(y))
    assert torch.equal(back.protectors[0].noise, given.protectors[0].noise)
    assert torch.equal(back.aux.images.images, AUX.images.images)
    assert torch.equal(back.aux.validation.images, AUX.validation.images)
    assert torch.equal(back.observe.features, given.observe.features)


def test_what_is_not_granted_is_in_no_file(tmp_path):
    parts = cut(build(ARCH, seed=4), "block1", None, INPUT.shape)
    write_grant(tmp_path, ThreatModel(arch=ARCH, head_end="block1", head=parts.head))
    back = read_grant(tmp_path)
    for field in ("bodies", "tail", "defense", "protectors", "aux", "observe", "selector"):
        with pytest.raises(MissingKnowledge, match=field):
            back.need(field)


def test_a_second_grant_does_not_overwrite_the_first(tmp_path):
    write_grant(tmp_path, ThreatModel(name="first"))
    with pytest.raises(BadInput, match="already"):
        write_grant(tmp_path, ThreatModel(name="second"))
    assert read_grant(tmp_path).name == "first"


def spoil_tensors(folder):
    path = folder / "grant.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def cut_short(folder):
    path = folder / "grant.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def change(**fields):
    def act(folder):
        path = folder / "grant.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

    return act


@pytest.mark.parametrize(
    "damage",
    [
        spoil_tensors,
        cut_short,
        lambda folder: (folder / "grant.json").unlink(),
        lambda folder: (folder / "grant.json").write_text("{"),
        change(format="splitlab/client/1"),
        change(arch=None),
        change(aux={"kind": "same distribution"}),
        change(defense="no-such-defence"),
        change(head_end="no-such-block"),
    ],
)
def test_damage_is_noticed(tmp_path, damage):
    write_grant(tmp_path, full())
    damage(tmp_path)
    with pytest.raises(Corrupt, match="bench grant"):
        read_grant(tmp_path)


def test_granted_modules_are_frozen_copies():
    parts = cut(build(ARCH, seed=4), "block1", None, INPUT.shape)
    parts.head.train()
    model = ThreatModel(head=parts.head)
    assert parts.head.training
    assert not model.head.training
    assert not any(p.requires_grad for p in model.head.parameters())
    before = model.fingerprint()
    next(parts.head.parameters()).data.add_(1)
    assert model.fingerprint() == before
    next(model.head.parameters()).data.add_(1)
    assert model.fingerprint() != before
