"""Phases: one optimiser and one schedule through all, what each trains, and what it may bring."""

import copy
from typing import Any

import pytest
import torch
from small_lessons import (
    ARCH,
    RECIPE,
    Nothing,
    changed,
    images,
    lesson,
    network,
    state_of,
    trained,
)  # fmt: skip
from torch import nn

from splitlab.contracts import Defense, Phase, Trainer
from splitlab.errors import BadInput, NotCuttable
from splitlab.training import TrainRecipe, train_classifier


class Schedules(Defense):
    """Phases that a test gives it, and what it saw while they ran."""

    plan: Any = ()
    seen: Any = None

    def phases(self, _task):
        return self.plan

    def train_with(self, net, optimizer, _task):
        self.seen["optimizer"] = optimizer
        return Trainer(net, optimizer)

    def objective(self, trace):
        optimizer = self.seen["optimizer"]
        self.seen.setdefault("rates", []).append(optimizer.param_groups[0]["lr"])
        self.seen.setdefault("epochs", []).append(trace.epoch)


def scheduled(*plan: Phase) -> Schedules:
    return Schedules(plan=plan, seen={})


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_two_phases_that_change_nothing_are_one_run_bit_by_bit(name):
    recipe = RECIPE.model_copy(update={"optimizer": name, "epochs": 3, "schedule": "cosine"})
    one, told = trained(Nothing(), recipe=recipe)
    two, same = trained(scheduled(Phase("first", 1), Phase("rest", 2)), recipe=recipe)
    assert not changed(one.state_dict(), two.state_dict())
    assert told.losses == same.losses
    assert len(same.losses["net"]) == 3


def test_one_schedule_runs_through_all_phases_and_a_phase_may_bring_its_own():
    plan = (
        Phase("a", 1),
        Phase("own", 1, schedule=lambda steps: lambda step: 10.0 + step / steps),
        Phase("b", 2),
    )
    defense = scheduled(*plan)
    trained(defense)
    share = RECIPE.factor(9)  # of the phases without their own: 3 epochs of 3 steps
    shares = [share(k) for k in range(3)] + [10, 10 + 1 / 3, 10 + 2 / 3]
    shares += [share(k) for k in range(3, 9)]
    assert defense.seen["rates"] == pytest.approx([RECIPE.learning_rate * s for s in shares])
    assert defense.seen["epochs"] == [epoch for epoch in range(4) for _ in range(3)]


def test_a_phase_may_bring_its_optimiser_and_the_other_goes_on_after_it():
    given = []

    def frozen_sgd(named):
        given.append([name for name, _ in named])
        return torch.optim.SGD([parameter for _, parameter in named], lr=0.0)

    net = network()
    start = state_of(net.net)
    inside = {}

    class Keeps(Schedules):
        def objective(self, trace):
            if trace.epoch == 1:
                inside.setdefault("weight", net.net.linear.weight.detach().clone())

    only = Phase("own", 1, lambda name: name.startswith("linear"), optimizer=frozen_sgd)
    trained(Keeps(plan=(only, Phase("rest", 1)), seen={}), net)
    assert given == [["linear.weight", "linear.bias"]]
    assert torch.equal(inside["weight"], start["linear.weight"])  # its rate was 0
    assert "linear.weight" in changed(start, net.net.state_dict())


def test_transfer_freezes_the_backbone_by_parameters_or_strictly():
    """Paper 004's shape: the classifier alone, then more; batch norms' statistics are the trap."""
    backbone = ("conv1", "bn1", "layer1", "layer2")

    def is_head(name):
        return not name.startswith(backbone)

    found = {}
    for mode, phase in {
        "params": Phase("fine-tune", 2, is_head),
        "strict": Phase("fine-tune", 2, frozen=backbone),
    }.items():
        net = network()
        before = state_of(net.net)
        trained(scheduled(phase), net)
        found[mode] = changed(before, net.net.state_dict())
        assert not [n for n in found[mode] if n.startswith(backbone) and n.endswith("weight")]
        assert {"layer3.0.conv1.weight", "linear.bias"} <= found[mode]
        assert all(parameter.requires_grad for parameter in net.parameters())
    assert "layer1.0.bn1.running_mean" in found["params"]
    assert not [name for name in found["strict"] if name.startswith(backbone)]


def test_what_was_frozen_learns_again_in_the_next_phase():
    net = network()
    before = state_of(net.net)
    plan = (Phase("last layer", 1, frozen=("conv1", "layer1")), Phase("all", 1))
    trained(scheduled(*plan), net)
    assert {"conv1.weight", "layer1.0.bn1.running_var"} <= changed(before, net.net.state_dict())


def test_a_skip_is_switched_off_in_place_and_the_optimiser_keeps_its_state():
    """TTS's shape (paper 000): with skips, then without those of the last stage."""
    net = network()
    parameters = [id(parameter) for parameter in net.parameters()]
    noticed = []

    class Watches(Schedules):
        def objective(self, trace):
            state = self.seen["optimizer"].state
            momenta = [state[p].get("momentum_buffer") for p in net.parameters() if p in state]
            noticed.append((trace.epoch, net.net.layer3[0].skip, len(momenta)))

    off = Phase("without", 1, variants={"skip": [1, 1, 0]})
    trained(Watches(plan=(Phase("with", 1), off), seen={}), net)
    assert noticed[0] == (0, 1.0, 0)
    assert noticed[2] == (0, 1.0, len(parameters))
    assert noticed[3] == (1, 0.0, len(parameters))
    assert [id(parameter) for parameter in net.parameters()] == parameters
    assert net.net.layer2[0].skip == 1.0


def test_a_phase_may_train_on_other_images_and_in_another_order():
    visited = []

    def backwards(rows, rng):
        del rng
        visited.append(rows)
        return torch.arange(rows).flip(0)

    def in_batches(rows, rng):
        del rng
        return [torch.arange(5), torch.empty(0, dtype=torch.int64), torch.arange(rows)]

    class Public(Schedules):
        def objective(self, trace):
            self.seen.setdefault("sizes", []).append(len(trace.labels))
            self.seen.setdefault("first", trace.images[0, :, 0, 0].clone())

        def train_with(self, net, optimizer, _task):
            return Trainer(net, optimizer)

    public = images(20, seed=5)
    plan = (
        Phase("public", 1, images=public, sampler=backwards),
        Phase("private", 1, sampler=in_batches),
    )
    defense = Public(plan=plan, seen={})
    recipe = TrainRecipe(epochs=2, batch_size=16, flip=False)
    _, history = trained(defense, recipe=recipe)
    assert visited == [20]
    assert defense.seen["sizes"] == [16, 4, 5, 48]
    assert torch.equal(defense.seen["first"], public.images[-1, :, 0, 0] / 255)
    assert history.images == 20 + 5 + 48


def test_a_run_that_is_killed_in_its_second_phase_goes_on_there(tmp_path):
    plan = (Phase("a", 1), Phase("b", 2, variants={"skip": [1, 1, 0]}))
    whole, _ = trained(scheduled(*plan))

    class Killed(Schedules):
        def objective(self, trace):
            if trace.epoch == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(Killed(plan=plan, seen={}), checkpoint=tmp_path / "c.pt")
    assert {path.name for path in tmp_path.iterdir()} == {"c.pt", "c.pt.1"}
    resumed = scheduled(*plan)
    net, history = trained(resumed, checkpoint=tmp_path / "c.pt")
    assert not changed(whole.state_dict(), net.state_dict())
    assert resumed.seen["epochs"] == [2] * 3
    assert len(history.losses["net"]) == 3


@pytest.mark.parametrize(
    ("phase", "error", "words"),
    [
        (Phase("b", 1, lambda _: False), BadInput, "'b' trains no parameter"),
        (Phase("b", 1, frozen=("layer9",)), NotCuttable, "'layer9' is no module"),
        (Phase("b", 1, variants={"norm": "group"}), BadInput, "norm in a phase: there only skip"),
        (Phase("b", 1, variants={"skip": {"layer9": 0}}), BadInput, "layer9 of CifarResNet"),
    ],
)
def test_what_a_later_phase_cannot_do_is_told_before_anything_is_trained(phase, error, words):
    net = network()
    before = copy.deepcopy(net.net.state_dict())
    with pytest.raises(error, match=words):
        trained(scheduled(Phase("a", 1), phase), net)
    assert not changed(before, net.net.state_dict())
    assert ARCH.variants == {}


def test_no_phases_and_no_defence_are_the_recipe():
    net = network()
    train_classifier(net, images(), RECIPE, device="cpu")
    other, _ = trained(scheduled())
    assert not changed(net.net.state_dict(), other.state_dict())
    assert isinstance(lesson(Nothing(), net).task.net, nn.Module)
