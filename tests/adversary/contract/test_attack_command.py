"""`adversary attack`: a capture and a grant in, reconstructions by id out; bad input is named."""

import json
import re

import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner
from worlds import AUX, INPUT, VICTIMS, Orthogonal, capture

from adversary.cli import app
from adversary.cli_options import ATTACK_HELP, read_options
from adversary.contract.estimate_files import grid
from adversary.contract.grant import read_grant, write_grant
from adversary.contract.threat import Observed, ThreatModel
from adversary.registry import ATTACKS
from splitlab.capture import CaptureWriter
from splitlab.contracts import ArchSpec, FeatureSpec
from splitlab.errors import BadInput
from splitlab.metrics import psnr
from splitlab.models import build
from splitlab.split import cut
from splitlab.storage import read_tensors
from splitlab.wire import Request, encode
from splitlab.wire.messages import INFER

REQUEST = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def world(tmp_path):
    """A capture of the victims, and the grant of queries to the same client."""
    head = Orthogonal("map")
    tap = CaptureWriter(tmp_path / "capture", "relay")
    message = Request("m", f"{REQUEST}-0", tuple(encode(capture(head), "FP32"))).to_bytes()
    tap.record(tap.new_call(), "up", message, method=INFER, peer="ipv4:127.0.0.1:1")
    tap.close()
    observed = Observed(AUX.images, capture(head, pixels=AUX.images.floats()))
    feature = FeatureSpec(shape=(48, 4, 4))
    write_grant(
        tmp_path / "grant",
        ThreatModel(feature=feature, input=INPUT, aux=AUX, observe=observed),
    )
    return tmp_path


def run(world, *options):
    arguments = ["attack", str(world / "capture"), "--knows", str(world / "grant")]
    arguments += ["--out", str(world / "out"), "--device", "cpu", *options]
    return CliRunner().invoke(app, arguments)


def test_reconstructions_by_id(world):
    done = run(world, "--set", "epochs=0")
    assert done.exit_code == 0, done.output
    images = read_tensors(world / "out" / "reconstructions.safetensors")
    estimate = json.loads((world / "out" / "estimate.json").read_text())
    assert estimate["ids"] == [f"{REQUEST}/{row}" for row in range(8)]
    assert estimate["settings"]["epochs"] == 0
    assert sorted(estimate["granted"]) == ["aux", "capture", "feature", "input", "observe"]
    rebuilt = torch.stack([images[key] for key in estimate["ids"]])
    assert psnr(VICTIMS, rebuilt).min() > 50
    with Image.open(world / "out" / "reconstructions.png") as picture:
        assert picture.size == (3 * 17 - 1, 3 * 17 - 1)


def test_what_was_captured_is_known_without_being_granted(world):
    """`aligned-shadow` reads the capture already while it learns; a grant need not hold it."""
    arch = ArchSpec(name="tiny_cnn", input=INPUT)
    parts = cut(build(arch, seed=4), "block1", "pool", INPUT.shape)
    tap = CaptureWriter(world / "seen", "relay")
    features = tuple(encode(capture(parts.head), "FP32"))
    message = Request("m", f"{REQUEST}-0", features).to_bytes()
    tap.record(tap.new_call(), "up", message, method=INFER, peer="ipv4:127.0.0.1:1")
    tap.close()
    write_grant(
        world / "bodies",
        ThreatModel(
            arch=arch,
            head_end="block1",
            tail_start="pool",
            feature=FeatureSpec(shape=(8, 16, 16)),
            input=INPUT,
            aux=AUX,
            bodies=nn.ModuleList([parts.body]),
        ),
    )
    assert read_grant(world / "bodies").capture is None
    words = ["attack", str(world / "seen"), "--knows", str(world / "bodies")]
    words += ["--attack", "aligned-shadow", "--out", str(world / "out"), "--device", "cpu"]
    quick = {"critic_epochs": 1, "tried": 5, "kept": 1, "refine_steps": 1, "compared": 20}
    quick |= {"started": 2, "searches": 1, "aligned": 1, "align_steps": 1, "heads": 1}
    quick |= {"head_epochs": 1, "picture_epochs": 1, "decoder_epochs": 0}
    for field, value in quick.items():
        words += ["--set", f"{field}={value}"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    estimate = json.loads((world / "out" / "estimate.json").read_text())
    assert "capture" in estimate["granted"]
    assert not {"head", "observe"} & set(estimate["granted"])
    assert len(estimate["ids"]) == len(VICTIMS)


def test_limit_and_an_existing_estimate(world):
    assert run(world, "--attack", "mean-image", "--limit", "3").exit_code == 0
    assert len(json.loads((world / "out" / "estimate.json").read_text())["ids"]) == 3
    again = run(world, "--attack", "mean-image")
    assert again.exit_code == 2
    assert "choose another --out" in again.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--attack", "decodr"], "decoder"),
        (["--attack", "rmle"], "head"),
        (["--set", "epochs"], "FIELD=VALUE"),
        (["--set", "epoch=1"], "its settings are"),
        (["--set", "preset=he"], "he2019"),
        (["--device", "tpu"], "auto, cpu or cuda"),
    ],
)
def test_bad_input_is_named(world, options, words):
    done = run(world, *options)
    assert done.exit_code == 2
    assert words in done.output.replace("\n", " ")
    assert not (world / "out").exists()


def test_a_capture_or_grant_that_is_not_there(world):
    (world / "grant" / "grant.json").unlink()
    done = run(world)
    assert done.exit_code == 2
    assert "bench grant" in done.output.replace("\n", " ")


def test_options_are_read():
    assert read_options(["epochs=3", " tv = none "]) == {"epochs": "3", "tv": None}
    with pytest.raises(BadInput, match="twice"):
        read_options(["a=1", "a=2"])


def test_the_grid_shows_each_image_once():
    picture = grid(torch.linspace(0, 1, 5).view(5, 1, 1, 1).expand(5, 3, 4, 4))
    assert picture.startswith(b"\x89PNG")


def test_the_help_names_every_attack():
    ours = ATTACK_HELP.partition(" Installed")[0]
    assert set(re.findall(r"[a-z-]+", ours)) - {"or"} == set(ATTACKS.ours)
