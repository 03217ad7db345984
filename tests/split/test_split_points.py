"""Split points of known networks: names, shapes, costs by hand, and errors."""

import pytest
import torch
from torch import Tensor, nn

from splitlab.contracts import ArchSpec, InputSpec
from splitlab.errors import BadInput, NotCuttable, UnknownName
from splitlab.models import Normalised, build
from splitlab.split import find_point, split_points, spread
from splitlab.split.listing import points_of
from splitlab.split.trace.flow import follow


def wrapped(net: nn.Module) -> Normalised:
    return Normalised(net, (0.5,) * 3, (0.5,) * 3)


def test_named_blocks_of_resnet20() -> None:
    points = split_points(build(ArchSpec(name="resnet20")))
    stages = [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in range(3)]
    assert [point.name for point in points] == ["conv1", "bn1", "relu", *stages, "avgpool"]
    assert [point.shape for point in points[2:]] == [
        *[(16, 32, 32)] * 4,
        *[(32, 16, 16)] * 3,
        *[(64, 8, 8)] * 3,
        (64, 1, 1),
    ]
    assert points[6].bytes_per_image == 32 * 16 * 16 * 4
    assert points[5].aliases == ("layer1.2.relu_1", "layer1")
    assert {point.kind for point in points} == {"block"}


def test_operations_contain_the_blocks_at_the_same_index() -> None:
    net = build(ArchSpec(name="resnet20"))
    blocks, operations = split_points(net), split_points(net, granularity="operation")
    assert [point.index for point in operations] == list(range(len(operations)))
    assert set(blocks) <= set(operations)
    assert [point for point in operations if point.kind == "block"] == list(blocks)
    assert operations[blocks[3].index - 1].name == "layer1.0.add"
    assert operations[-1].name == "flatten"


def test_costs_by_hand() -> None:
    convolution = nn.Conv2d(3, 8, 3, stride=2, padding=1)
    net = wrapped(nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16 * 16, 10)))
    first, second, third = split_points(net)
    of_convolution = 3 * 3 * 3 * 8 * 16 * 16
    of_linear = 8 * 16 * 16 * 10
    for point in (first, second, third):
        assert (point.head_params, point.rest_params) == (3 * 3 * 3 * 8 + 8, of_linear + 10)
        assert (point.head_macs, point.rest_macs) == (of_convolution, of_linear)
    assert (second.shape, third.shape) == ((8, 16, 16), (2048,))


def test_grouped_convolution_and_attention_by_hand() -> None:
    grouped = wrapped(nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.ReLU(), nn.Flatten(0, -1)))
    assert split_points(grouped)[0].head_macs == 1 * 3 * 3 * 6 * 30 * 30
    points = split_points(build(ArchSpec(name="tiny_vit")))
    tokens, width = 65, 32
    projections = 4 * tokens * width * width
    attention = 2 * tokens * tokens * width
    feed_forward = 2 * tokens * width * 2 * width
    one, two = find_point(points, "layers.0"), find_point(points, "layers.1")
    assert two.head_macs - one.head_macs == projections + attention + feed_forward


def test_costs_of_both_sides_add_up_where_nothing_is_shared() -> None:
    net = build(ArchSpec(name="resnet18_cifar"))
    whole = sum(parameter.numel() for parameter in net.parameters())
    points = split_points(net, granularity="operation")
    assert {point.head_params + point.rest_params for point in points} == {whole}
    assert len({point.head_macs + point.rest_macs for point in points}) == 1
    assert sorted(points, key=lambda point: point.head_macs) == list(points)


def test_a_parameter_of_both_sides_counts_on_both() -> None:
    net = wrapped(nn.Sequential(nn.Conv2d(3, 5, 1), Pooled(), Tied()))
    points = split_points(net, granularity="operation")
    middle = find_point(points, "2.act")
    assert (middle.head_params, middle.rest_params) == (20 + 30, 30)
    assert find_point(points, "2.shared").index < middle.index


class Pooled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shared, self.act = nn.Linear(5, 5), nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        return self.shared(self.act(self.shared(x)))


@pytest.mark.parametrize("name", ["resnet20", "conv6", "tiny_cnn", "tiny_vit"])
def test_shapes_alone_and_numbers_give_the_same_points(name: str) -> None:
    net = build(ArchSpec(name=name), seed=0)
    by_numbers, by_shapes = (
        points_of(follow(net, (3, 32, 32), numbers), net, "operation") for numbers in (True, False)
    )
    assert list(by_numbers) == list(by_shapes)
    assert by_numbers.refused == by_shapes.refused


@pytest.mark.parametrize(
    ("name", "size", "wanted"),
    [
        # SPEC.md, section 0.5: modules and shapes at which the papers cut.
        ("resnet18", 224, {"maxpool": (64, 56, 56), "layer4": (512, 7, 7), "avgpool": (512, 1, 1)}),
        pytest.param(
            *("densenet121", 224, {"features.pool0": (64, 56, 56), "features.norm5": (1024, 7, 7)}),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("vgg16", 224, {"features.15": (256, 56, 56), "features.30": (512, 7, 7)}),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("efficientnet_b0", 224, {"features.0": (32, 112, 112), "features.7": (320, 7, 7)}),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("maxvit_t", 224, {"stem": (64, 112, 112), "blocks.3": (512, 7, 7)}),
            marks=pytest.mark.slow,
        ),
        (
            "vit_b_16",
            224,
            {"encoder.layers.encoder_layer_11": (197, 768), "conv_proj": (768, 14, 14)},
        ),
        pytest.param(
            *("swin_t", 224, {"features.0": (56, 56, 96), "features.7": (7, 7, 768)}),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("convnext_tiny", 224, {"features.1": (96, 56, 56), "features.7": (768, 7, 7)}),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("timm/repvgg_a0", 224, {"stem": (48, 112, 112), "stages.3": (1280, 7, 7)}),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_places_at_which_papers_cut_are_found(
    name: str, size: int, wanted: dict[str, tuple[int, ...]]
) -> None:
    net = build(ArchSpec(name=name, input=InputSpec(size=size)), seed=0)
    points = split_points(net, (3, size, size))
    assert {name: find_point(points, name).shape for name in wanted} == wanted


def test_names_that_are_no_split_points() -> None:
    points = split_points(build(ArchSpec(name="resnet20")))
    with pytest.raises(UnknownName, match=r"split point 'layer1\.3'; nearest: .*layer1\.2"):
        find_point(points, "layer1.3")
    crossing = r"2 tensors cross there \('relu', 'layer1\.0\.conv1'\); choose a split point"
    with pytest.raises(NotCuttable, match=crossing):
        find_point(points, "layer1.0.conv1")
    with pytest.raises(NotCuttable, match="output of the network"):
        find_point(points, "linear")
    with pytest.raises(UnknownName):
        find_point(list(points), "layer1.0.conv1")


def test_operations_and_aliases_are_found_in_a_list_of_blocks() -> None:
    points = split_points(build(ArchSpec(name="resnet20")))
    assert find_point(points, "layer1") is points[5]
    assert find_point(list(points), "layer1") is points[5]
    assert find_point(points, "layer2.1.add").kind == "operation"


def test_spread() -> None:
    points = split_points(build(ArchSpec(name="resnet20")))
    assert spread(points, 2) == [points[0], points[-1]]
    six = spread(points, 6)
    assert (len(set(six)), six[0], six[-1]) == (6, points[0], points[-1])
    assert spread(points, 99) == list(points)
    assert spread(points, 1) == [points[6]]
    with pytest.raises(BadInput, match="at least 1"):
        spread(points, 0)


def test_following_leaves_the_network_as_it_was() -> None:
    net = build(ArchSpec(name="resnet20"), seed=3)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    split_points(net)
    assert net.training
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_an_image_that_does_not_fit() -> None:
    with pytest.raises(BadInput, match=r"does not run on images of shape \(3, 8, 8\)"):
        split_points(build(ArchSpec(name="alexnet")), (3, 8, 8))
