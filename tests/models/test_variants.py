"""Variants against computations by hand, in our networks, torchvision's and timm's."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from splitlab.contracts import ArchSpec, InputSpec
from splitlab.errors import BadInput
from splitlab.models import build
from splitlab.models.variants import changes_in_place, merged, varied
from splitlab.models.variants.additions import Factor
from splitlab.models.variants.norms import norms_replaced

SIZE = 32
IMAGES = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def network(name: str, size: int = SIZE, **variants):
    arch = ArchSpec(name=name, classes=5, variants=variants, input=InputSpec(size=size))
    return build(arch, seed=0).net.eval()


def statistics(net: nn.Module) -> nn.Module:
    """Batch norms with statistics and factors that are not those of a new network."""
    rng = torch.Generator().manual_seed(1)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.copy_(torch.randn(part.num_features, generator=rng) * 0.1)
            part.running_var.copy_(torch.rand(part.num_features, generator=rng) + 0.5)
    return net


def resnet18_by_hand(net: nn.Module, x: Tensor, factors: dict[int, float]) -> Tensor:
    x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
    for stage in (1, 2, 3, 4):
        for block in net.get_submodule(f"layer{stage}"):
            out = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))
            shortcut = x if block.downsample is None else block.downsample(x)
            x = F.relu(out + factors.get(stage, 1.0) * shortcut)
    return net.fc(net.avgpool(x).flatten(1))


@pytest.mark.parametrize(
    ("skip", "factors"),
    [
        ([1, 1, 1, 0], {4: 0.0}),
        ({"layer2": 0.5, "layer3": 0}, {2: 0.5, 3: 0.0}),
    ],
)
def test_resnet18_of_torchvision_with_scaled_skips_is_that_by_hand(skip, factors) -> None:
    net = statistics(network("torchvision/resnet18", skip=skip))
    plain = statistics(network("torchvision/resnet18"))
    assert {*net.state_dict()} == {*plain.state_dict()}
    wanted = resnet18_by_hand(plain, IMAGES, factors)
    assert torch.equal(net(IMAGES), wanted)
    assert not torch.allclose(net(IMAGES), plain(IMAGES), atol=1e-3)
    net.train(), plain.train()
    assert torch.equal(net(IMAGES), resnet18_by_hand(plain, IMAGES, factors))


RESIDUAL = [
    ("resnet20", 32, 3),
    ("repvgg_mini", 32, 3),
    ("timm/resnet10t", 32, 4),
    *(
        pytest.param(name, 32, stages, marks=pytest.mark.slow)
        for name, stages in (
            ("resnet18_cifar", 4),
            ("timm/vit_tiny_patch16_224", 1),
            ("torchvision/resnet50", 4),
            ("torchvision/efficientnet_b0", 5),
            ("torchvision/mobilenet_v2", 1),
            ("torchvision/convnext_tiny", 4),
            ("torchvision/vit_b_16", 1),
            ("torchvision/swin_t", 4),
            ("timm/convnext_atto", 4),
        )
    ),
]


@pytest.mark.parametrize(("name", "size", "stages"), RESIDUAL)
def test_one_everywhere_is_the_network_bit_by_bit(name: str, size: int, stages: int) -> None:
    skip = [1] * stages
    plain = network(name, size)
    net = network(name, size, skip=skip)
    scales = [part for part in net.modules() if isinstance(part, Factor)]
    assert scales or name in ("resnet20", "resnet18_cifar")
    assert torch.equal(net(IMAGES), plain(IMAGES))
    for one in (net, plain):
        one.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        first = net(IMAGES)
        torch.manual_seed(3)
        assert torch.equal(first, plain(IMAGES))


@pytest.mark.parametrize(
    ("name", "path", "last"),
    [
        ("repvgg_mini", "stage2.1", None),
        ("torchvision/mobilenet_v2", "features.3", "conv.3"),
        pytest.param("torchvision/resnet50", "layer2.1", "bn3", marks=pytest.mark.slow),
        pytest.param(
            "torchvision/efficientnet_b0", "features.3.1", "block.3.1", marks=pytest.mark.slow
        ),
        pytest.param("torchvision/convnext_tiny", "features.3.1", None, marks=pytest.mark.slow),
        pytest.param("timm/resnet18", "layer3.1", "bn2", marks=pytest.mark.slow),
        pytest.param("timm/convnext_atto", "stages.1.blocks.1", "mlp.fc2", marks=pytest.mark.slow),
    ],
)
def test_a_factor_scales_the_input_of_a_block_alone(name, path, last) -> None:
    """Where the branch adds 0, a block is its input times the factor (behind its activation)."""
    net = network(name, skip={path: 0.25})
    block = net.get_submodule(path)
    silenced = [block] if name == "repvgg_mini" else [block.get_submodule(last)] if last else []
    for parameter in [p for part in silenced for p in part.parameters()]:
        nn.init.zeros_(parameter)
    if name == "repvgg_mini":
        nn.init.ones_(block.rbr_identity.weight)
    if last is None and name != "repvgg_mini":
        nn.init.zeros_(block.layer_scale)
    width = next(p for p in block.parameters() if p.ndim == 4).shape[1]
    width = {"torchvision/convnext_tiny": 192, "timm/convnext_atto": 80}.get(name, width)
    x = torch.rand(1, width, 8, 8)
    assert torch.allclose(block(x), 0.25 * x, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        "timm/vit_tiny_patch16_224",
        pytest.param("torchvision/vit_b_16", marks=pytest.mark.slow),
    ],
)
def test_a_transformers_two_skips_are_scaled_apart(name: str) -> None:
    """Attention's alone, the MLP's alone, both by the block's name."""
    path = "encoder.layers.encoder_layer_0" if name.startswith("torchv") else "blocks.0"
    block = copy.deepcopy(network(name).get_submodule(path))
    norm, attend, then, mlp = (
        (block.ln_1, lambda x: block.self_attention(x, x, x)[0], block.ln_2, block.mlp)
        if name.startswith("torchv")
        else (block.norm1, block.attn, block.norm2, block.mlp)
    )
    x = torch.randn(2, 5, next(p for p in norm.parameters()).numel())
    for skip, first, second in (
        ({f"{path}.skip_0": 0}, 0, 1),
        ({f"{path}.skip_1": 0.5}, 1, 0.5),
        ({path: 0.3, f"{path}.skip_1": 0}, 0.3, 0),
    ):
        between = attend(norm(x)) + first * x
        wanted = mlp(then(between)) + second * between
        found = network(name, skip=skip).get_submodule(path)(x)
        assert torch.allclose(found, wanted, atol=1e-5)


@pytest.mark.slow
def test_swins_masks_and_sizes_are_no_skips() -> None:
    net = network("timm/swin_tiny_patch4_window7_224", 224, skip={"layers.0.blocks.1": 1.0})
    scales = [path for path, part in net.named_modules() if isinstance(part, Factor)]
    assert scales == ["layers.0.blocks.1.skip_0", "layers.0.blocks.1.skip_1"]
    plain, images = network("timm/swin_tiny_patch4_window7_224", 224), torch.rand(1, 3, 224, 224)
    assert torch.equal(net(images), plain(images))


class OwnBlock(nn.Module):
    """A user's block: its own `skip`, a dropout by the mode, a sum of sizes, a projection."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 4, 3, 1, 1), nn.Conv2d(4, 4, 3, 1, 1)
        self.skip = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        size = x.shape[2] + x.shape[3]
        out = self.second(F.dropout(self.first(x), 0.5, self.training)) * size
        return torch.add(out, self.skip(x))


def test_a_users_own_block_keeps_its_names_and_its_two_modes() -> None:
    net = nn.Sequential(OwnBlock())
    keys, before = [*net.state_dict()], copy.deepcopy(net)
    varied(net, {"skip": {"0": 0.5}})
    assert [*net.state_dict()] == keys
    assert isinstance(net[0], OwnBlock)
    assert [path for path, part in net.named_modules() if isinstance(part, Factor)] == [
        "0.skip_scale"
    ]
    x = torch.rand(1, 4, 6, 8)
    net.eval(), before.eval()
    block = before[0]
    wanted = 14 * block.second(block.first(x)) + 0.5 * block.skip(x)
    assert torch.allclose(net(x), wanted, atol=1e-5)
    assert torch.equal(net(x), copy.deepcopy(net)(x))
    net.train()
    assert not torch.equal(net(x), net(x))  # dropout


def test_what_only_a_dropped_skip_needed_is_not_computed() -> None:
    net = network("torchvision/resnet18", skip=[1, 1, 1, 0])
    called = []
    for path in ("layer3.0", "layer4.0"):
        block = net.get_submodule(path)
        block.downsample.register_forward_hook(lambda *_, path=path: called.append(path))
    net(IMAGES)
    assert called == ["layer3.0"]


@pytest.mark.parametrize("name", ["resnet20", "torchvision/resnet18", "timm/resnet10t"])
def test_scalars_change_in_place_and_lead_where_building_anew_does(name: str) -> None:
    last = "layer3" if name == "resnet20" else "layer4"
    net = network(name)
    parameters = [id(parameter) for parameter in net.parameters()]
    plain = net(IMAGES)
    half, off = (changes_in_place(net, {"skip": {last: factor}}) for factor in (0.5, 0))
    assert torch.equal(net(IMAGES), plain)
    for changes, factor in ((half, 0.5), (off, 0.0)):
        for change in changes:
            change()
        built = network(name, skip={last: factor})
        assert torch.equal(net(IMAGES), built(IMAGES))
        assert built.state_dict().keys() == net.state_dict().keys()
    assert [id(parameter) for parameter in net.parameters()] == parameters


def test_variants_of_phases_are_merged() -> None:
    assert merged({}, {"skip": [1, 0]}) == {"skip": [1, 0]}
    first = {"skip": {"a": 0.5, "b": 1}, "norm": "group"}
    assert merged(first, {"skip": {"a": 0}}) == {"skip": {"a": 0, "b": 1}, "norm": "group"}
    assert merged(first, {}) == first
    with pytest.raises(BadInput, match="both as a list"):
        merged(first, {"skip": [1, 1]})


@pytest.mark.parametrize(
    ("name", "kind", "groups"),
    [("resnet8", "group", 16), ("resnet8", "layer", 1), ("timm/resnet10t", "group", 8)],
)
def test_batch_norms_become_group_norms(name: str, kind: str, groups: int) -> None:
    net, plain = network(name, norm=kind), network(name)
    assert not [part for part in net.modules() if isinstance(part, nn.BatchNorm2d)]
    norms = [part for part in net.modules() if isinstance(part, nn.GroupNorm)]
    assert len(norms) == sum(isinstance(part, nn.BatchNorm2d) for part in plain.modules())
    assert norms[0].num_groups == groups
    net.train()
    alone = torch.cat([net(image[None]) for image in IMAGES])
    assert torch.allclose(net(IMAGES), alone, atol=1e-5)  # images no longer mix


def test_a_norm_of_one_group_is_that_over_all_of_an_image_and_none_is_the_identity() -> None:
    x = torch.rand(2, 6, 4, 4)
    layer = norms_replaced(nn.Sequential(nn.BatchNorm2d(6)), "layer")
    assert torch.allclose(layer(x), F.layer_norm(x, (6, 4, 4)), atol=1e-5)
    nothing = norms_replaced(nn.Sequential(nn.BatchNorm2d(6)), "none")
    assert torch.equal(nothing(x), x)
    odd = norms_replaced(nn.Sequential(nn.BatchNorm2d(48)), "group")
    assert odd[0].num_groups == 16


@pytest.mark.parametrize(
    ("name", "variants", "words"),
    [
        ("torchvision/resnet18", {"skip": [1, 1]}, r"4 finite numbers.*layer1, layer2, layer3"),
        ("torchvision/resnet18", {"skip": 0.5}, "4 finite numbers"),
        ("torchvision/resnet18", {"skip": {"layer9": 0}}, "layer9 of ResNet has no skip.*layer4"),
        ("torchvision/resnet18", {"skip": {"layer4": "x"}}, "'x' is no finite number"),
        ("torchvision/resnet18", {"skip": [1, 1, 1, float("nan")]}, "nan is no finite"),
        ("conv6", {"skip": [0]}, "no block that adds its input"),
        ("conv6", {"norm": "group"}, "has no batch norm"),
        ("torchvision/resnet18", {"norm": "batch"}, "one of group, layer, none"),
        ("torchvision/resnet18", {"width": 2}, "variant 'width': known are skip, norm"),
        ("resnet20", {"depth": 2}, "variant 'depth': known are skip, norm"),
    ],
)
def test_what_no_network_has_is_refused(name: str, variants: dict, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        network(name, **variants)


def test_a_skip_that_was_built_away_does_not_come_back() -> None:
    with pytest.raises(BadInput, match=r"layer4\.0 was built with factor 0"):
        changes_in_place(network("resnet18_cifar", skip=[1, 1, 1, 0]), {"skip": [1, 1, 1, 1]})
