"""Networks from data: shapes, sizes, key names, seeds, errors."""

import pytest
import torch
from torch import nn

from splitlab.contracts import ArchSpec, InputSpec
from splitlab.errors import BadInput, UnknownName
from splitlab.models import MODELS, Normalised, build, model_names

# Ten classes, 32 px. ResNets: He et al. 2015, table 6 (0.27 M, 0.85 M) to the last parameter.
PARAMETERS = {
    "resnet8": 75_290,
    "resnet20": 269_722,
    "resnet56": 853_018,
    "resnet18_cifar": 11_173_962,
    "vgg11_cifar": 9_231_114,
    "vgg16_cifar": 14_728_266,
    "conv6": 1_609_546,
}


@pytest.mark.parametrize("name", list(MODELS))
def test_own_networks_answer_with_logits(name: str) -> None:
    net = build(ArchSpec(name=name, classes=7), seed=0).eval()
    assert net(torch.rand(2, 3, 32, 32)).shape == (2, 7)


@pytest.mark.parametrize(("name", "count"), PARAMETERS.items())
def test_parameter_counts(name: str, count: int) -> None:
    net = build(ArchSpec(name=name), seed=0)
    assert sum(parameter.numel() for parameter in net.parameters()) == count


def test_the_seed_alone_decides_the_weights_and_the_global_generator_is_left_alone() -> None:
    arch = ArchSpec(name="tiny_cnn")
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one, two, other, free = (build(arch, seed=s).net.state_dict() for s in (5, 5, 6, None))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert not torch.equal(one["fc.weight"], other["fc.weight"])
    assert not torch.equal(one["fc.weight"], free["fc.weight"])


def test_normalisation_belongs_to_the_network_and_not_to_its_state() -> None:
    net = Normalised(nn.Identity(), (0.5, 0.25, 0.0), (0.5, 0.25, 2.0))
    answer = net(torch.full((1, 3, 1, 1), 0.75)).flatten()
    assert torch.allclose(answer, torch.tensor([0.5, 2.0, 0.375]))
    assert not net.state_dict()


def test_key_names_are_those_of_published_checkpoints() -> None:
    resnet20 = list(build(ArchSpec(name="resnet20")).net.state_dict())
    assert resnet20[0] == "conv1.weight"
    assert resnet20[-2:] == ["linear.weight", "linear.bias"]
    assert "layer3.2.bn2.num_batches_tracked" in resnet20
    own = build(ArchSpec(name="resnet18_cifar")).net.state_dict()
    assert list(own) == list(build(ArchSpec(name="torchvision/resnet18")).net.state_dict())
    conv6 = [name for name, _ in build(ArchSpec(name="conv6")).net.named_children()]
    assert conv6[:5] == ["conv11", "ReLU11", "conv12", "ReLU12", "pool1"]
    assert conv6[-3:] == ["fc1", "fc1act", "fc2"]


@pytest.mark.parametrize(("stem", "side"), [("cifar10", 16), ("cifar100", 32), ("celeba", 16)])
def test_stems_of_ensembler(stem: str, side: int) -> None:
    net = build(ArchSpec(name="resnet18_cifar", arguments={"stem": stem}), seed=0).net.eval()
    assert isinstance(net, nn.Module)
    image = net.get_submodule("conv1")(torch.rand(1, 3, 32, 32))
    assert net.get_submodule("maxpool")(image).shape == (1, 64, side, side)


@pytest.mark.parametrize(("name", "stages"), [("resnet20", 3), ("resnet18_cifar", 4)])
def test_skip_scales_the_identity_and_zero_removes_it(name: str, stages: int) -> None:
    def first_block(factor: float) -> torch.Tensor:
        arch = ArchSpec(name=name, variants={"skip": [factor] + [1] * (stages - 1)})
        block = build(arch, seed=0).net.eval().get_submodule("layer1.0")
        nn.init.zeros_(block.get_submodule("bn2").weight)
        image = torch.rand(1, block.get_submodule("conv1").in_channels, 4, 4)
        return block(image) / image

    for factor in (1.0, 0.5, 0.0):
        found = first_block(factor)
        assert torch.allclose(found, torch.full_like(found, factor), atol=1e-6)


def test_a_removed_shortcut_takes_its_projection_with_it() -> None:
    arch = ArchSpec(name="resnet18_cifar", variants={"skip": [1, 1, 1, 0]})
    keys = build(arch).net.state_dict()
    assert "layer3.0.downsample.0.weight" in keys
    assert "layer4.0.downsample.0.weight" not in keys


def test_library_networks_learn_the_image_size() -> None:
    for name in ("torchvision/vit_b_16", "timm/vit_tiny_patch16_224"):
        arch = ArchSpec(name=name, classes=4, input=InputSpec(size=64))
        assert build(arch, seed=0).eval()(torch.rand(1, 3, 64, 64)).shape == (1, 4)


def test_auxiliary_classifiers_do_not_change_what_training_sees() -> None:
    net = build(ArchSpec(name="googlenet", classes=4), seed=0).train()
    assert net(torch.rand(2, 3, 64, 64)).shape == (2, 4)


def test_names() -> None:
    names = model_names()
    assert {"resnet20", "torchvision/resnet18", "timm/repvgg_a0"} <= set(names)
    assert len(names) == len(set(names)) > 1000
    with pytest.raises(UnknownName, match=r"'resnet21'.*resnet20"):
        build(ArchSpec(name="resnet21"))
    with pytest.raises(UnknownName, match="torchvision/resnet18"):
        build(ArchSpec(name="torchvision/resnet81"))


@pytest.mark.parametrize(
    ("arch", "says"),
    [
        (ArchSpec(name="resnet20", arguments={"width": 3}), "'width'.*takes skip"),
        (ArchSpec(name="resnet20", variants={"skip": [1, 1]}), "3 finite numbers"),
        (ArchSpec(name="resnet20", variants={"skip": ["x", 1, 1]}), "3 numbers"),
        (ArchSpec(name="resnet18_cifar", arguments={"stem": "imagenet"}), "cifar100"),
        (ArchSpec(name="resnet18", variants={"skip": [1, 1, 0]}), "4 finite numbers"),
        (ArchSpec(name="vgg11_cifar", input=InputSpec(size=16)), "at least 32"),
        (ArchSpec(name="conv6", input=InputSpec(size=30)), "multiple of 8"),
        (ArchSpec(name="tiny_vit", arguments={"patch": 5}), "must divide"),
        (ArchSpec(name="resnet20", input=InputSpec(kind="tokens")), "kind='image'"),
        (ArchSpec(name="resnet20", input=InputSpec(channels=1)), "one a channel"),
        (ArchSpec(name="resnet18", arguments={"width": 3}), "width"),
        (ArchSpec(name="timm/resnet10t", arguments={"no_such": 3}), "no_such"),
        (ArchSpec(name="maxvit_t", input=InputSpec(size=33)), "arch.input.size"),
    ],
)
def test_what_a_network_does_not_accept(arch: ArchSpec, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        build(arch)


def test_torchvision_is_refused_other_channels() -> None:
    grey = InputSpec(channels=1, mean=(0.5,), std=(0.5,))
    with pytest.raises(BadInput, match="takes 3"):
        build(ArchSpec(name="resnet18", input=grey))
    assert build(ArchSpec(name="tiny_cnn", input=grey)).eval()(torch.rand(1, 1, 32, 32)).ndim == 2
