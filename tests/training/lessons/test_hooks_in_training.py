"""Terms, modules and hands of a defence: each is read by the one training path."""

from typing import Any, ClassVar

import pytest
import torch
from small_lessons import RECIPE, ROWS, Nothing, changed, network, state_of, trained
from torch import nn
from torch.nn import functional as F

from defenses import Stack
from splitlab.contracts import Defense, Phase, Trainer
from splitlab.errors import BadInput


class Auxiliary(Defense):
    """A classifier of its own behind the second stage, as deep supervision has it."""

    name: ClassVar[str] = "auxiliary"
    kept: Any = None

    def modules(self, task):
        channels = task.net.layer2[0].conv2.out_channels
        self.kept.append(nn.Linear(channels, task.arch.classes))
        self.kept.append(self.kept[-1].weight.detach().clone())
        return {"judge": self.kept[-2]}

    def watches(self, _task):
        return ("layer2",)

    def objective(self, trace):
        feature = trace.watched["layer2"].mean((2, 3))
        return F.cross_entropy(trace.modules["judge"](feature), trace.labels)


def test_a_module_for_training_only_learns_and_is_not_deployed():
    net = network()
    defense = Auxiliary(kept=[])
    names = {*net.state_dict()}
    trained(defense, net)
    judge, before = defense.kept
    assert not torch.equal(judge.weight, before)
    assert not judge.training
    assert {*net.state_dict()} == names
    assert not net.net.layer2._forward_hooks
    plain, _ = trained(Nothing())
    assert "conv1.weight" in changed(plain.state_dict(), net.net.state_dict())


def test_its_weights_follow_the_seed_and_a_killed_run_keeps_them(tmp_path):
    first, second = Auxiliary(kept=[]), Auxiliary(kept=[])
    one, _ = trained(first, seed=3)
    trained(second, seed=4)
    assert not torch.equal(first.kept[1], second.kept[1])

    class Killed(Auxiliary):
        def objective(self, trace):
            if trace.epoch == 1:
                raise KeyboardInterrupt
            return super().objective(trace)

    path = tmp_path / "c.pt"
    with pytest.raises(KeyboardInterrupt):
        trained(Killed(kept=[]), seed=3, checkpoint=path)
    again = Auxiliary(kept=[])
    resumed, _ = trained(again, seed=3, checkpoint=path)
    assert not changed(one.state_dict(), resumed.state_dict())
    assert torch.equal(again.kept[0].weight, first.kept[0].weight)


def test_each_defence_of_a_stack_sees_its_own_modules():
    first, second = Auxiliary(kept=[]), Auxiliary(kept=[])
    trained(Stack([first, Nothing(), second]))
    weights = [defense.kept[0].weight for defense in (first, second)]
    assert not torch.equal(*weights)
    assert all(not torch.equal(d.kept[0].weight, d.kept[1]) for d in (first, second))


def test_terms_of_a_stack_add_up():
    class Bias(Defense):
        """A term whose gradient on the last layer's bias is known."""

        name: ClassVar[str] = "bias"
        factor: float = 1.0

        def objective(self, trace):
            return self.factor * trace.logits.mean(0)[0]

    plain, _ = trained(Nothing())
    both, _ = trained(Stack([Bias(factor=2.0), Bias(factor=-2.0)]))
    once, _ = trained(Bias(factor=3.0))
    twice, _ = trained(Stack([Bias(factor=1.0), Bias(factor=2.0)]))
    assert torch.allclose(plain.linear.bias, both.linear.bias, atol=1e-5)
    assert torch.allclose(once.linear.bias, twice.linear.bias, atol=1e-5)
    assert once.linear.bias[0] < plain.linear.bias[0] - 0.01


def test_mixed_images_come_with_shares_of_classes():
    shapes = []

    class Looks(Defense):
        def objective(self, trace):
            shapes.append(tuple(trace.labels.shape))
            assert torch.allclose(trace.labels.sum(1), torch.ones(len(trace.labels)))

    trained(Looks(), recipe=RECIPE.model_copy(update={"mixup": 0.8}))
    assert shapes == [(16, 3)] * 6


class Counted(nn.Module):
    """A wrapper as Opacus has one: calls the network and keeps its parameters."""

    def __init__(self, net):
        super().__init__()
        self._module, self.calls = net, 0

    def forward(self, images):
        self.calls += 1
        return self._module(images)


class Noisy(torch.optim.SGD):
    """Steps of a fixed size, whatever the gradient; counts them."""

    steps = 0

    def step(self, closure=None):
        self.steps += 1
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.ones_like(parameter)
        return super().step(closure)


class Private(Defense):
    """DP-SGD's shape: a wrapped network, an optimiser of its own, Poisson batches, an epsilon."""

    name: ClassVar[str] = "private"
    kept: Any = None

    def train_with(self, net, optimizer, task):
        assert net.training
        assert optimizer.param_groups[0]["lr"] == RECIPE.learning_rate
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        wrapped, noisy = Counted(net), Noisy(parameters, lr=0.5)
        self.kept.update(net=wrapped, optimizer=noisy)

        def poisson(rows, rng):
            assert rows == task.rows
            chosen = [torch.rand(rows, generator=rng) < 0.25 for _ in range(4)]
            return [mask.nonzero()[:, 0] for mask in chosen]

        return Trainer(wrapped, noisy, poisson, lambda: {"epsilon": 0.1 * noisy.steps})


def test_hands_of_a_defence_train_the_network():
    net = network()
    before = state_of(net.net)
    defense = Private(kept={})
    _, history = trained(
        defense, net, RECIPE.model_copy(update={"schedule": "constant", "warmup": 0})
    )
    assert defense.kept["net"].calls == defense.kept["optimizer"].steps == 8
    assert history.facts == {"epsilon": pytest.approx(0.8)}
    assert ROWS < history.images < 3 * ROWS
    assert history.images != 2 * ROWS  # Poisson
    for name, parameter in net.net.named_parameters():
        assert torch.allclose(parameter, before[name] - 8 * 0.5, atol=1e-4)


class Accountant:
    """Counts steps; what an epsilon is told from."""

    def __init__(self):
        self.steps, self.kill_at = 0, None

    def count(self, *_):
        self.steps += 1
        if self.steps == self.kill_at:
            raise KeyboardInterrupt

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, saved):
        self.steps = saved["steps"]


class Accounted(Defense):
    """An optimiser that is counted, and stopped at a step."""

    name: ClassVar[str] = "accounted"
    remembers: bool
    kill_at: int | None = None

    def train_with(self, net, optimizer, _task):
        accountant = Accountant()
        accountant.kill_at = self.kill_at
        optimizer.register_step_post_hook(accountant.count)
        memory = accountant if self.remembers else None
        return Trainer(net, optimizer, None, lambda: {"steps": accountant.steps}, memory)


@pytest.mark.parametrize("remembers", [True, False])
def test_facts_of_a_killed_training_are_of_all_of_it(tmp_path, remembers):
    """With a memory the run goes on; without one it begins anew, as its facts would be too low."""
    path, steps = tmp_path / "c.pt", 2 * ROWS // RECIPE.batch_size
    whole, history = trained(Accounted(remembers=remembers))
    assert history.facts == {"steps": steps}
    with pytest.raises(KeyboardInterrupt):
        trained(Accounted(remembers=remembers, kill_at=steps - 1), checkpoint=path)
    assert path.exists() == remembers
    resumed, history = trained(Accounted(remembers=remembers), checkpoint=path)
    assert history.facts == {"steps": steps}
    assert not changed(whole.state_dict(), resumed.state_dict())


def test_it_stacks_with_phases_of_another_and_the_schedule_is_heard():
    class Stages(Defense):
        name: ClassVar[str] = "stages"

        def phases(self, _task):
            return [Phase("a", 1), Phase("b", 1, variants={"skip": [1, 1, 0]})]

    net = network()
    private = Private(kept={})
    trained(Stack([Stages(), private]), net)
    assert private.kept["optimizer"].steps == 8
    assert net.net.layer3[0].skip == 0
    assert private.kept["optimizer"].param_groups[0]["lr"] < 0.5


class Structure(Defense):
    name: ClassVar[str] = "structure"

    def architecture(self, arch):
        return arch


class Plan(Defense):
    name: ClassVar[str] = "plan"
    own: bool = False

    def phases(self, _task):
        return [Phase("a", 1, optimizer=sgd if self.own else None)]


def sgd(named):
    return torch.optim.SGD([parameter for _, parameter in named])


@pytest.mark.parametrize(
    ("kind", "thing"),
    [(Structure, "architecture"), (Plan, "schedule"), (Private, "optimizer")],
)
def test_two_owners_of_one_thing_are_named(kind, thing):
    class Other(kind):
        name: ClassVar[str] = "other"

    with pytest.raises(BadInput, match=f"'{kind.name}' and 'other' both own the {thing}"):
        Stack([kind(), Nothing(), Other()])
    Stack([Structure(), Plan(), Private(), Auxiliary(), Auxiliary()])


def test_a_phases_optimiser_beside_the_owner_of_the_optimiser_is_refused():
    with pytest.raises(BadInput, match="'plan' in its phase 'a' and 'private' both own the opt"):
        trained(Stack([Plan(own=True), Private(kept={})]))


def test_what_has_a_part_in_training_is_trained_for():
    assert not Nothing().learns
    assert all(one.learns for one in (Structure(), Plan(), Private(), Auxiliary()))
