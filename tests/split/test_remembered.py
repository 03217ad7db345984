"""A network of libraries' layers is followed once; one that may do something else, anew."""

import copy
import functools

import pytest
import torch
from torch import nn

from splitlab.contracts import ArchSpec, InputSpec
from splitlab.models import Normalised, build
from splitlab.split import cut, split_points
from splitlab.split.trace import flow
from splitlab.split.trace.remembered import MOST, LastAsked, structure

SHAPE = (3, 16, 16)


def network(name="tiny_cnn", seed=0, **arguments):
    arch = ArchSpec(name=name, classes=4, arguments=arguments, input=InputSpec(size=16))
    return build(arch, seed=seed).eval()


@pytest.fixture
def runs(monkeypatch):
    """How often a network was run to be followed, with nothing known at first."""
    found, record = [], flow.record
    monkeypatch.setattr(flow, "_FLOWS", LastAsked())

    def counted(*given):
        found.append(given[1].shape)
        return record(*given)

    monkeypatch.setattr(flow, "record", counted)
    return found


def test_another_seed_of_a_network_is_not_run_again_and_has_its_own_weights(runs):
    images = torch.rand(3, *SHAPE)
    for seed, size in ((0, 2), (1, 2), (2, 2)):
        net = network(seed=seed)
        head, body, tail = cut(net, "block1.2", "pool", SHAPE)
        assert len(runs) == size  # two tapes of the first, and no more
        with torch.inference_mode():
            assert torch.equal(tail(body(head(images))), net(images))
    assert [p.name for p in split_points(network(), SHAPE)]
    assert len(runs) == 2


def test_another_size_is_followed_anew(runs):
    split_points(network(), SHAPE)
    split_points(network(), (3, 32, 32))
    assert len(runs) == 4


class Own(nn.Module):
    def forward(self, x):
        return x.flatten(1)


def hooked(net):
    net.net.block1[0].register_forward_hook(lambda _m, _i, out: out * 2)


def own_module(net):
    net.net.block1[0] = nn.Sequential(net.net.block1[0], Own())


def own_forward(net):
    net.net.forward = functools.partial(type(net.net).forward, net.net)


def own_class(net):
    class Other(type(net.net)):
        pass

    net.net.__class__ = Other


@pytest.mark.parametrize("change", [hooked, own_module, own_forward, own_class])
def test_what_may_do_anything_is_not_remembered(change):
    net = network()
    assert structure(net) is not None
    change(net)
    assert structure(net) is None


def wider(net):
    net.net.block1[0].stride = (2, 2)


def tied(net):
    net.net.fc.bias = nn.Parameter(net.net.fc.bias.detach().clone())
    net.net.block1[1].bias = net.net.block1[1].weight


def double(net):
    net.double()


def without(net):
    net.net.block1[1] = nn.Identity()


def training(net):
    net.net.block1[1].train()


def table(net):
    net.net.block1[0].register_buffer("order", torch.arange(4))


def tied_modules(net):
    net.net.block1[1] = net.net.block1[0]


CHANGES = [wider, tied, double, without, training, table, tied_modules]


@pytest.mark.parametrize("change", CHANGES)
def test_another_structure_is_another_key(change):
    one, other = network(), network()
    assert structure(one) == structure(other)
    change(other)
    assert structure(other) != structure(one)


def test_tables_of_integers_count_and_weights_do_not():
    one, other = network(), network(seed=3)
    for net, start in ((one, 0), (other, 0)):
        net.net.register_buffer("order", torch.arange(start, 5))
    assert structure(one) == structure(other)
    other.net.order[0] = 7
    assert structure(one) != structure(other)
    other = copy.deepcopy(one)
    other.net.block1[1].num_batches_tracked += 1
    other.net.block1[1].running_mean += 1
    assert structure(one) == structure(other)


def test_a_changed_copy_is_cut_as_it_is(runs):
    plain, other = network(), network()
    cut(plain, "block1.2", None, SHAPE)
    other.net.block1[0].register_forward_hook(lambda _m, _i, out: out * 3)
    head, body, _ = cut(other, "block1.2", None, SHAPE)
    images = torch.rand(2, *SHAPE)
    with torch.inference_mode():
        torch.testing.assert_close(body(head(images)), other(images))
        assert not torch.allclose(other(images), plain(images))
    assert len(runs) == 4


def test_a_user_s_network_is_followed_each_time(runs):
    net = Normalised(nn.Sequential(Own(), nn.Linear(768, 2)), (0.0,) * 3, (1.0,) * 3).eval()
    for _ in range(2):
        split_points(net, SHAPE)
    assert len(runs) == 4


def test_only_the_last_ones_are_kept():
    memory = LastAsked()
    for number in range(MOST):
        memory.put(number, str(number))
    assert memory.get(0) == "0"
    memory.put(MOST, "new")
    assert memory.get(1) is None
    assert memory.get(0) == "0"
