"""Training that ends once enough clean training images are told rightly."""

import pytest
import torch
from torch import nn

from defenses import Stack, parse
from defenses.parts.prepare import Order, prepare
from splitlab.contracts import ArchSpec, Defense, Phase
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


def order_of(images, **fields) -> Order:
    return Order(
        arch=ArchSpec(name="tiny_cnn", classes=10),
        head_end="block1",
        tail_start=None,
        images=images,
        recipe=TrainRecipe(**RECIPE, **fields),
        seed=0,
        secret=Secret.new(0),
    )


class Phased(Defense):
    name = "phased"
    plan: tuple[int, ...]
    own: bool = False

    def phases(self, _task):
        images = task_images() if self.own else None
        return [Phase(f"phase {n}", epochs, images=images) for n, epochs in enumerate(self.plan)]


def task_images():
    return load_splits("photo-patches", limits={"train": 20}).train


@pytest.mark.parametrize("defense", [Phased(plan=(1, 1)), Phased(plan=(2,), own=True)])
def test_a_share_ends_no_training_of_several_phases_or_on_other_images(images, defense) -> None:
    """Each would end by itself, and the second where the first had reached it already."""
    with pytest.raises(BadInput, match=r"until=0\.5: .*phases of its own \('phase 0'.*until=none"):
        prepare(Stack([defense]), order_of(images, epochs=2, until=0.5))
    plain = prepare(Stack([defense]), order_of(images, epochs=2))
    made = [[f"phase {n}", epochs] for n, epochs in enumerate(defense.plan)]
    assert plain.facts["phases"] == made


def test_facts_tell_the_epochs_that_were_made(images) -> None:
    facts = prepare(Stack([Phased(plan=(30,))]), order_of(images, epochs=30, until=0.2)).facts
    ((name, epochs),) = facts["phases"]
    assert (name, epochs) == ("phase 0", facts["epochs"])
    assert 1 <= epochs < 30


def test_who_trains_several_bodies_says_that_it_cannot(images) -> None:
    with pytest.raises(BadInput, match=r"until=0\.9: 'ensembler' trains its bodies"):
        prepare(parse("ensembler:N=2,P=1"), order_of(images, epochs=1, until=0.9))
