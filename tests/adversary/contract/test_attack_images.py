"""`adversary attack --images`: synthetic images of the adversary's own, from making to result."""

import json
import shutil

import pytest
import torch
from test_attack_command import REQUEST
from typer.testing import CliRunner
from worlds import AUX, VICTIMS, capture

from adversary.cli import app
from adversary.contract.grant import read_grant, write_grant
from adversary.contract.threat import Observed, ThreatModel
from adversary.synthesis.folder import HELD_OUT, load_images, own_images
from splitlab.capture import CaptureWriter
from splitlab.contracts import ArchSpec, FeatureSpec, InputSpec
from splitlab.errors import BadInput, MissingKnowledge
from splitlab.models import build
from splitlab.split import cut
from splitlab.storage import read_json, write_json
from splitlab.wire import Request, encode
from splitlab.wire.messages import INFER

ATTACKS = {
    "psim": {"epochs": "1", "width": "4"},
    "gmi": {"epochs": "1", "width": "4", "steps": "2", "restarts": "1"},
    "decoder": {"epochs": "0"},
    "dci": {"epochs": "1", "tune_epochs": "0"},
}


def granted(end="block2", size=16, seed=4, queries=False, whole=False, **more):
    """A grant of the head, and what the client would send."""
    given = InputSpec(size=size)
    arch = ArchSpec(name="tiny_cnn", input=given)
    net = build(arch, seed=seed)
    for key, value in net.state_dict().items():
        if key.endswith("running_mean"):  # as training leaves it: no two networks are alike
            value.normal_(0, 0.1, generator=torch.Generator().manual_seed(seed))
    parts = cut(net, end, "pool", given.shape)
    shape = parts.head.output_shape
    fields = {"arch": arch, "head_end": end, "tail_start": "pool", "input": given, **more}
    if queries:
        fields["observe"] = Observed(AUX.images, capture(parts.head, pixels=AUX.images.floats()))
    if whole:
        fields |= {"bodies": torch.nn.ModuleList([parts.body]), "tail": parts.tail}
    return ThreatModel(feature=FeatureSpec(shape=shape), head=parts.head, **fields)


def tapped(folder, head):
    """A capture of the victims' features."""
    tap = CaptureWriter(folder, "relay")
    message = Request("m", f"{REQUEST}-0", tuple(encode(capture(head), "FP32"))).to_bytes()
    tap.record(tap.new_call(), "up", message, method=INFER, peer="ipv4:127.0.0.1:1")
    tap.close()


def run(*words):
    return CliRunner().invoke(app, [*map(str, words), "--device", "cpu"])


def made(grant, out, count=24):
    done = run("synthesise", "--knows", grant, "--out", out, "--count", count, *SMALL)
    assert done.exit_code == 0, done.output
    return out


SMALL = ["--set", "steps=4", "--set", "batch_size=12"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A grant of head and of queries on real images, its capture, and images of its head."""
    folder = tmp_path_factory.mktemp("place")
    threat = granted(queries=True, aux=AUX)
    write_grant(folder / "grant", threat)
    tapped(folder / "capture", threat.head)
    made(folder / "grant", folder / "images")
    return folder


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_was_synthesised_is_what_an_attack_learns_from(place, attack, tmp_path):
    words = [f"--set={field}={value}" for field, value in ATTACKS[attack].items()]
    words += ["--attack", attack, "--images", place / "images", "--out", tmp_path / "out"]
    done = run("attack", place / "capture", "--knows", place / "grant", *words)
    assert done.exit_code == 0, done.output
    estimate = json.loads((tmp_path / "out" / "estimate.json").read_text())
    assert estimate["images"] == {
        "kind": "synthetic",
        "auxiliary": 21,
        "validation": 3,
        "synthetic": "head",
    }
    assert len(estimate["ids"]) == len(VICTIMS)
    # neither real images nor answers to queries on them
    assert "observe" not in estimate["granted"]
    told = estimate["extra"].get("learned_from", "")
    if attack == "dci":
        assert estimate["settings"]["data"] == "own"
        assert estimate["settings"]["images"] == 21
    how = "own head, as if undefended" if attack in ("psim", "decoder") else "21 synthetic images"
    assert told == how


def test_the_images_take_the_place_of_the_grants_own(place):
    before = read_grant(place / "grant")
    threat = own_images(place / "images", before)
    files = load_images(place / "images", 16, 24).images
    assert torch.equal(threat.aux.images.images, files[:21])
    assert torch.equal(threat.aux.validation.images, files[21:])
    assert (before.aux.kind, threat.aux.kind, threat.aux.word) == (
        "same distribution",
        "synthetic",
        "synthetic",
    )
    assert threat.observe is None


def test_as_many_are_held_out_as_in_an_experiment(place, tmp_path):
    threat = own_images(made(place / "grant", tmp_path, 144), read_grant(place / "grant"))
    assert (len(threat.aux.images), len(threat.aux.validation)) == (144 - HELD_OUT, HELD_OUT)


def test_images_of_the_whole_network_serve_wherever_it_is_cut(tmp_path):
    write_grant(tmp_path / "whole", granted("block1", whole=True))
    threat = own_images(made(tmp_path / "whole", tmp_path / "made"), granted("block2"))
    assert threat.aux.layers == "network"
    # of the shorter head a longer one, too
    write_grant(tmp_path / "short", granted("block1"))
    assert own_images(made(tmp_path / "short", tmp_path / "few"), granted()).aux.layers == "head"


def test_images_of_another_network_or_size_or_without_provenance_are_refused(place, tmp_path):
    folder = place / "images"
    with pytest.raises(BadInput, match="another network than the granted head"):
        own_images(folder, granted(seed=5))
    with pytest.raises(BadInput, match="16 pixels a side, the grant's network takes 24"):
        own_images(folder, granted(size=24))
    with pytest.raises(MissingKnowledge, match="'head'"):
        own_images(folder, ThreatModel(input=InputSpec(size=16)))
    with pytest.raises(BadInput, match="`adversary synthesise` wrote"):
        own_images(tmp_path, granted())
    empty = shutil.copytree(folder, tmp_path / "empty")
    write_json(empty / "provenance.json", {**read_json(folder / "provenance.json"), "batches": {}})
    with pytest.raises(BadInput, match="no batch of images is finished"):
        own_images(empty, granted())


def test_a_head_without_batch_norms_takes_images_of_its_own_network_alone(tmp_path):
    write_grant(tmp_path / "whole", granted("block1", whole=True))
    images = made(tmp_path / "whole", tmp_path / "made")
    assert own_images(images, granted("block1.0")).aux.layers == "network"
    with pytest.raises(BadInput, match="another network than the granted head"):
        own_images(images, granted("block1.0", seed=5))


def test_a_folder_that_lost_images_is_to_be_made_again(place, tmp_path):
    folder = shutil.copytree(place / "images", tmp_path / "lost")
    next(folder.glob("*/*.png")).unlink()
    with pytest.raises(BadInput, match=r"has 23 images, 24 are wanted; remove .* again"):
        own_images(folder, granted())


def test_images_for_an_attack_that_learns_from_none_are_an_error(place, tmp_path):
    words = ["--attack", "di", "--images", place / "images", "--out", tmp_path / "out"]
    done = run("attack", place / "capture", "--knows", place / "grant", *words)
    assert done.exit_code == 2
    assert "learns from no images" in done.output


def test_a_folder_from_before_its_layers_were_recorded_still_serves(place, tmp_path):
    old = shutil.copytree(place / "images", tmp_path / "old")
    content = read_json(old / "provenance.json")
    del content["layer_hashes"]
    write_json(old / "provenance.json", content)
    assert len(own_images(old, granted()).aux.images) == 21
    with pytest.raises(BadInput, match="another network than the granted head"):
        own_images(old, granted(seed=5))
    made(place / "grant", old, 36)
    hashes = read_json(old / "provenance.json")["layer_hashes"]
    assert hashes == read_json(place / "images" / "provenance.json")["layer_hashes"]


def test_images_for_an_attack_that_shall_make_its_own_are_an_error(place, tmp_path):
    words = ["--attack", "dci", "--set", "data=synthetic", "--images", place / "images"]
    out = ["--out", tmp_path / "out"]
    done = run("attack", place / "capture", "--knows", place / "grant", *words, *out)
    assert done.exit_code == 2
    assert "leave data out" in done.output.replace("\n", " ")
