"""Training a classifier: recipes, protection at a split point, penalties, phases, accuracy."""

import math

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from splitlab.contracts import ArchSpec, Defense, Lesson, Protector, Task
from splitlab.data import load_splits
from splitlab.errors import BadInput, NotCuttable
from splitlab.randomness import FreeDraw
from splitlab.training import LONG, Protection, TrainRecipe, accuracy, train_classifier


@pytest.fixture(scope="module")
def splits():
    return load_splits("photo-patches", limits={"train": 600, "validation": 200})


class Small(nn.Module):
    """Normalisation around a network, as `splitlab.models` builds them."""

    def __init__(self, seed=0, dropout=0.0):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = nn.Sequential()
            self.net.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.BatchNorm2d(16), nn.ReLU())
            self.net.rest = nn.Sequential(nn.Conv2d(16, 32, 3, 2), nn.BatchNorm2d(32), nn.ReLU())
            self.net.out = nn.Sequential(
                nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(dropout), nn.Linear(128, 10)
            )

    def forward(self, x):
        return self.net(x - 0.5)


class Noise(Protector):
    def __init__(self, level):
        super().__init__()
        self.level = nn.Parameter(torch.tensor(level), requires_grad=False)
        self.shapes = []

    def forward(self, feature, draw):
        self.shapes.append(tuple(feature.shape))
        return feature + self.level * draw.normal(feature, "noise")


def lesson(defense, net):
    """The defence as the one training path reads it."""
    arch = ArchSpec(name="small")
    return Lesson(defense, Task(arch, "stem", None, 2, 32, 600, net.net))


def test_accuracy_of_known_answers(splits):
    class Oracle(nn.Module):
        def __init__(self, shift):
            super().__init__()
            self.shift, self.at = shift, 0

        def forward(self, x):
            labels = splits.validation.labels[self.at : self.at + len(x)]
            self.at += len(x)
            return nn.functional.one_hot((labels + self.shift) % 10, 10).float()

    assert accuracy(Oracle(0), splits.validation, batch_size=64) == 100.0
    assert accuracy(Oracle(1), splits.validation, batch_size=64) == 0.0
    net = Small(dropout=0.5).train()
    assert accuracy(net, splits.validation) == accuracy(net, splits.validation, batch_size=7)
    assert net.training
    with pytest.raises(BadInput, match="no images"):
        accuracy(net, splits.validation.subset([]))


def test_it_learns_and_ends_in_eval_mode(splits):
    net = Small()
    before = accuracy(net, splits.validation)
    history = train_classifier(net, splits, TrainRecipe(epochs=4), device="cpu")
    assert not net.training
    assert accuracy(net, splits.validation) > max(50.0, before + 20)
    assert len(history.losses["net"]) == 4
    assert history.images == 4 * 600


def test_repeatable_and_resumable_with_dropout_and_protection(splits, tmp_path):
    def trained(epochs_first=None):
        net, noise = Small(dropout=0.3), Noise(0.1)
        recipe = TrainRecipe(epochs=2, shift=2)
        calls = 0
        path = tmp_path / "c.pt" if epochs_first else None

        class Stop(Defense):
            def objective(self, _trace):
                nonlocal calls
                calls += 1
                if epochs_first and calls > epochs_first * math.ceil(600 / 32):
                    raise KeyboardInterrupt

        arguments = {"device": "cpu", "protect": ("stem", noise), "checkpoint": path, "seed": 1}
        try:
            train_classifier(net, splits, recipe, lesson=lesson(Stop(), net), **arguments)
        except KeyboardInterrupt:
            net = Small(dropout=0.3)
            train_classifier(net, splits, recipe, **arguments)
        return net.state_dict()

    first, second, resumed = trained(), trained(), trained(epochs_first=1)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(torch.equal(first[name], resumed[name]) for name in first)


def test_protection_acts_at_the_split_point_in_training_only(splits):
    net, noise = Small(), Noise(50.0)
    recipe = TrainRecipe(epochs=1, batch_size=100)
    history = train_classifier(net, splits, recipe, device="cpu", protect=("stem", noise))
    assert noise.shapes == [(100, 16, 15, 15)] * 6
    assert not net.net.stem._forward_hooks
    plain = train_classifier(Small(), splits, recipe, device="cpu")
    assert history.losses["net"][0] > plain.losses["net"][0] + 0.1
    accuracy(net, splits.validation)
    assert len(noise.shapes) == 6


def test_protectors_stack_and_their_draw_can_be_given(splits):
    chain = nn.ModuleList([Noise(0.1), Noise(0.2)])
    draw = FreeDraw(torch.Generator().manual_seed(7))
    protect = Protection("rest", chain, draw)
    train_classifier(Small(), splits, TrainRecipe(epochs=1), device="cpu", protect=protect)
    assert len(chain[0].shapes) == len(chain[1].shapes) == 19
    drawn = torch.randn(3, generator=draw.source)
    assert not torch.equal(drawn, torch.randn(3, generator=torch.Generator().manual_seed(7)))


def test_several_places_are_protected_at_once(splits):
    """Head and body's end; a checkpoint holds the parameters of both."""

    class Shift(Noise):
        def __init__(self):
            super().__init__(0.1)
            self.shift = nn.Parameter(torch.zeros(()))

        def forward(self, feature, draw):
            return super().forward(feature, draw) + self.shift

    first, second = Shift(), Shift()
    places = [Protection("stem", first), Protection("rest", second)]
    net = Small()
    train_classifier(net, splits, TrainRecipe(epochs=1), device="cpu", protect=places)
    assert first.shapes[0][1:] == (16, 15, 15)
    assert second.shapes[0][1:] == (32, 7, 7)
    assert first.shift != 0
    assert second.shift != 0
    assert not net.net.stem._forward_hooks
    assert not net.net.rest._forward_hooks


def test_places_that_are_no_modules_are_refused(splits):
    class Elsewhere(Defense):
        def watches(self, task):
            del task
            return ("stem", "elsewhere")

    with pytest.raises(NotCuttable, match="'add_3' is no module"):
        train_classifier(Small(), splits, device="cpu", protect=("add_3", Noise(0.1)))
    net = Small()
    with pytest.raises(NotCuttable, match="'elsewhere'"):
        train_classifier(net, splits, device="cpu", lesson=lesson(Elsewhere(), net))
    assert not net.net.stem._forward_hooks


def test_a_term_sees_what_it_watches_before_protection_and_is_learned(splits):
    """Penalising the stem's mean square shrinks it, whatever noise stands behind it."""
    energies = []

    class Shrinks(Defense):
        def watches(self, task):
            assert (task.rows, type(task.net)) == (600, nn.Sequential)
            return ("stem",)

        def objective(self, trace):
            assert {*trace.watched} == {"stem"}
            assert trace.logits.shape == (len(trace.labels), 10)
            energy = trace.watched["stem"].square().mean()
            energies.append(float(energy.detach()))
            return 3.0 * energy

    net = Small()
    train_classifier(
        net, splits, TrainRecipe(epochs=2), device="cpu", lesson=lesson(Shrinks(), net),
        protect=("stem", Noise(100.0)),
    )  # fmt: skip
    assert energies[0] < 10  # the noise alone would add 10,000
    assert energies[-1] < 0.1 * energies[0]


@pytest.mark.parametrize("schedule", ["triangle", "cosine", "constant"])
def test_schedules_rise_and_fall(schedule):
    share = TrainRecipe(schedule=schedule, warmup=0.25).factor(100)
    values = [share(step) for step in range(101)]
    assert values[0] == pytest.approx(1 / 25)
    assert values[24] == 1.0
    assert max(values) == 1.0
    falls = values[25:]
    assert falls == sorted(falls, reverse=True)
    assert values[99] == 1.0 if schedule == "constant" else 0 < values[99] < 0.03
    assert TrainRecipe(schedule=schedule, warmup=0).factor(10)(0) >= 0.9


def test_recipes_refuse_what_is_out_of_range_and_spare_norms_from_decay():
    for bad in ({"epochs": -1}, {"momentum": 1.0}, {"learning_rate": 0}, {"epoch": 3}):
        with pytest.raises(ValidationError):
            TrainRecipe(**bad)
    assert TrainRecipe(shift=0, flip=False).augment is None
    assert LONG.augment is not None
    decayed, spared = TrainRecipe().optimizer_of(Small().parameters()).param_groups
    assert decayed["weight_decay"] == 5e-4
    assert spared["weight_decay"] == 0
    assert all(p.ndim > 1 for p in decayed["params"])
    assert len(spared["params"]) == 7


@pytest.mark.slow
def test_the_default_recipe_reaches_80_percent_with_resnet20():
    from splitlab.contracts import ArchSpec
    from splitlab.models import build

    splits = load_splits("photo-patches")
    net = build(ArchSpec(name="resnet20", classes=10), seed=0)
    train_classifier(net, splits, device="cpu")
    assert accuracy(net, splits.validation) >= 80
