"""`bench grant`: what is asked for is granted, the number of outputs and the capture included."""

import pytest
import torch
from deployments import deploy, pictures
from typer.testing import CliRunner

from adversary.contract.grant import read_grant
from bench.cli import app
from splitlab.capture import CaptureWriter
from splitlab.wire import Request, encode
from splitlab.wire.messages import INFER


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A deployment of three bodies, of which two are used, and images on disk."""
    folder = tmp_path_factory.mktemp("grant")
    deploy(folder / "deployment", bodies=3, chosen=(2, 0))
    pictures(folder / "images")
    return folder


def captured(folder, features):
    tap = CaptureWriter(folder, "relay")
    message = Request("m", "0123456789abcdef0123456789abcdef-0", tuple(encode(features, "FP32")))
    tap.record(tap.new_call(), "up", message.to_bytes(), method=INFER, peer="ipv4:127.0.0.1:1")
    tap.close()
    return folder


def grant(world, out, *options):
    words = ["grant", str(world / "deployment"), "--out", str(out)]
    words += ["--dataset", f"imagefolder:{world / 'images'}", *options]
    return CliRunner().invoke(app, words)


def test_the_number_of_outputs_and_a_capture_are_granted(world, tmp_path):
    features = torch.rand(3, 8, 16, 16)
    seen = captured(tmp_path / "capture", features)
    done = grant(world, tmp_path / "out", "--P", "--bodies", "--capture", str(seen))
    assert done.exit_code == 0, done.output
    assert "bodies, P, capture" in done.output
    given = read_grant(tmp_path / "out")
    assert given.P == 2
    assert given.selector is None
    assert given.head is None
    assert len(given.bodies) == 3
    assert torch.equal(given.capture, features)


def test_what_is_not_asked_for_is_not_granted(world, tmp_path):
    done = grant(world, tmp_path / "out", "--bodies")
    assert done.exit_code == 0, done.output
    given = read_grant(tmp_path / "out")
    assert given.P is None
    assert given.capture is None


def test_a_capture_of_another_deployment_is_refused(world, tmp_path):
    seen = captured(tmp_path / "capture", torch.rand(3, 4, 2, 2))
    done = grant(world, tmp_path / "out", "--bodies", "--capture", str(seen))
    assert done.exit_code == 2
    assert "the capture of this deployment" in " ".join(done.output.split())
    assert not (tmp_path / "out").exists()
