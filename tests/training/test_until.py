"""Training that ends once enough clean training images are told rightly."""

import pytest
import torch
from torch import nn

from defenses import parse
from defenses.parts.prepare import Order, prepare
from splitlab.contracts import ArchSpec
from splitlab.data import load_splits
from splitlab.errors import BadInput, Mismatch
from splitlab.randomness import Secret
from splitlab.training import TrainRecipe, accuracy, train_classifier
from splitlab.training import checkpoint as checkpoint_module

RECIPE = {
    "batch_size": 25,
    "learning_rate": 0.05,
    "schedule": "constant",
    "warmup": 0,
    "flip": True,
}


@pytest.fixture(scope="module")
def images():
    return load_splits("photo-patches", limits={"train": 100}).train


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 16, 5, 4), nn.BatchNorm2d(16), nn.ReLU(), nn.Dropout(0.1), nn.Flatten(),
            nn.Linear(16 * 7 * 7, 10),
        )  # fmt: skip


def trained(images, checkpoint=None, **fields):
    net = network()
    recipe = TrainRecipe(**RECIPE, **fields)
    return net, train_classifier(net, images, recipe, device="cpu", checkpoint=checkpoint)


def test_it_ends_with_the_first_epoch_that_reaches_it(images) -> None:
    net, history = trained(images, epochs=30, until=0.8)
    assert 1 < history.epochs < 30
    assert accuracy(net, images) >= 80
    before, _ = trained(images, epochs=history.epochs - 1)
    assert accuracy(before, images) < 80
    # measuring changes nothing: neither the modes nor what is drawn
    plain, _ = trained(images, epochs=history.epochs)
    assert all(map(torch.equal, net.state_dict().values(), plain.state_dict().values()))


def test_epochs_are_the_most(images) -> None:
    assert trained(images, epochs=2, until=1.0)[1].epochs == 2


def test_a_killed_one_ends_where_it_would_have(images, tmp_path, monkeypatch) -> None:
    whole, history = trained(images, epochs=30, until=0.8)
    real, left = checkpoint_module.write_bytes, [1]

    def dies(path, data, **how):
        real(path, data, **how)
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint_module, "write_bytes", dies)
    for killed_after in (1, history.epochs):  # also with the very epoch that reached it
        path, left[0] = tmp_path / f"{killed_after}.pt", killed_after
        with pytest.raises(KeyboardInterrupt):
            trained(images, path, epochs=30, until=0.8)
        net, told = trained(images, path, epochs=30, until=0.8)
        assert told.losses == history.losses
        assert all(map(torch.equal, net.state_dict().values(), whole.state_dict().values()))
    with pytest.raises(Mismatch, match=r"until: 0\.8 there"):
        trained(images, path, epochs=30, until=0.9)


def test_who_trains_several_bodies_says_that_it_cannot(images) -> None:
    order = Order(
        arch=ArchSpec(name="tiny_cnn", classes=10),
        head_end="block1",
        tail_start=None,
        images=images,
        recipe=TrainRecipe(epochs=1, until=0.9),
        seed=0,
        secret=Secret.new(0),
    )
    with pytest.raises(BadInput, match=r"until=0\.9: 'ensembler' trains its bodies"):
        prepare(parse("ensembler:N=2,P=1"), order)
