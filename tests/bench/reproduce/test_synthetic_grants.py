"""An adversary without data: its images come from batch norms, and no real one reaches it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.point.grants import GrantRequest, make_threat
from bench.point.setup import Place, Setup, Synthetic
from bench.point.synthetic import known, synthetic_images
from bench.reproduce.frame.experiment import Measurement
from defenses import Stack
from defenses.parts.prepare import Order, prepare
from splitlab.contracts import ArchSpec, InputSpec
from splitlab.data import load_splits
from splitlab.deployment import write_deployment
from splitlab.errors import BadInput
from splitlab.models import build
from splitlab.randomness import Secret
from splitlab.training import TrainRecipe

GIVEN = InputSpec(size=16)
ARCH = ArchSpec(name="tiny_cnn", classes=6, input=GIVEN)
SETTINGS = {"steps": 4, "batch_size": 12}
WANTED = Synthetic("network", 8, SETTINGS)


@pytest.fixture(scope="module")
def splits():
    return load_splits("photo-patches", size=16, limits={"train": 60})


@pytest.fixture(scope="module")
def deployments(splits, tmp_path_factory) -> dict[str, Path]:
    """One network, cut at two places."""
    net = build(ARCH, seed=4)
    found = {}
    for end in ("block1", "block2"):
        order = Order(
            arch=ARCH,
            head_end=end,
            tail_start="pool",
            images=splits.train,
            recipe=TrainRecipe(epochs=0),
            seed=0,
            secret=Secret(bytes(32)),
            trained=net.net.state_dict(),
        )
        found[end] = tmp_path_factory.mktemp(end) / "deployment"
        halves = prepare(Stack([]), order)
        write_deployment(
            found[end],
            halves,
            defended=Stack([]),
            secret=order.secret,
            classes=splits.classes,
            victims_hash=splits.victims.hash,
        )
    return found


def test_the_network_is_read_whole_and_the_same_wherever_it_is_cut(deployments) -> None:
    pixels = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = build(ARCH, seed=4).eval()(pixels)
        for deployment in deployments.values():
            whole = known(deployment, "network")
            assert whole.whole
            assert torch.equal(whole.modules[0](pixels), wanted)
        head = known(deployments["block1"], "head")
    assert not head.whole


def test_images_are_made_once_and_are_the_same_for_every_cut(deployments, tmp_path) -> None:
    one = synthetic_images(tmp_path, deployments["block1"], WANTED, seed=1, device="cpu")
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    other = synthetic_images(tmp_path, deployments["block2"], WANTED, seed=1, device="cpu")
    assert torch.equal(one.images.images, other.images.images)
    assert one.making == other.making
    assert len(one.images) == WANTED.images + Synthetic.HELD_OUT
    assert files == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}


def test_the_threat_model_holds_synthetic_images_and_no_real_one(
    deployments, splits, tmp_path
) -> None:
    setup = Setup(
        model="tiny_cnn",
        dataset="photo-patches",
        size=16,
        head_end="block1",
        tail_start="pool",
        recipe=TrainRecipe(epochs=1),
        auxiliary=50,
        validation=20,
    )
    place = Place("here")
    one = Measurement("a", place, "dci", knows=frozenset({"head"}), synthetic=WANTED)
    request = one.grant(setup)
    assert request.card()["synthetic"] == "network"
    made = synthetic_images(tmp_path, deployments["block1"], WANTED, seed=1, device="cpu")
    threat = make_threat(deployments["block1"], request, splits, 0, made=made)
    assert threat.aux.kind == "synthetic"
    assert torch.equal(threat.aux.images.images, made.images.images[: WANTED.images])
    assert threat.aux.facts == {"making": made.making}
    assert len(threat.aux.validation) == Synthetic.HELD_OUT
    queried = Measurement("b", place, "decoder", knows=frozenset({"observe"}), synthetic=WANTED)
    asked = make_threat(deployments["block1"], queried.grant(setup), splits, 0, made=made)
    assert torch.equal(asked.observe.images.images, made.images.images[: WANTED.images])
    with pytest.raises(BadInput, match="if and only if"):
        make_threat(deployments["block1"], request, splits, 0)
    with pytest.raises(BadInput, match="if and only if"):
        make_threat(deployments["block1"], GrantRequest(head=True), splits, 0, made=made)
