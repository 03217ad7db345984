"""What stands behind a network's name: what the lab gives itself, and values of a wrong kind."""

import re

import pytest
import torch

from splitlab.contracts import ArchSpec, InputSpec
from splitlab.errors import BadInput, UnknownName
from splitlab.models import build
from splitlab.models.argument_kinds import check_weights
from splitlab.split import split_points


def refused(text, size=32):
    with pytest.raises(BadInput) as caught:
        build(ArchSpec.named(text, input=InputSpec(size=size)), seed=0)
    return str(caught.value)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Nothing here may try to fetch weights."""

    def fetch(*words, **more):
        raise AssertionError(f"fetches {words} {more}")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", fetch)
    monkeypatch.setattr("torch.hub.download_url_to_file", fetch)
    monkeypatch.setattr("urllib.request.urlopen", fetch)


@pytest.mark.parametrize("name", ["resnet20", "resnet18", "timm/resnet10t"])
@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("num_classes=1000", "number of classes is that of the data set"),
        ("classes=1000", "number of classes"),
        ("in_chans=1", "3 channels"),
        ("pretrained=True", "--weights FILE"),
        ("weights=DEFAULT", "--weights FILE"),
        ("weights=None", "--weights FILE"),
        ("weights_backbone=DEFAULT", "--weights FILE"),
        ("checkpoint_path=net.pth", "--weights FILE"),
        ("checkpoint_path=''", "--weights FILE"),
        ("pretrained_cfg=a1_in1k", "--weights FILE"),
        ("img_size=224", "images are 32 px"),
        ("image_size=224", "images are 32 px"),
        ("no_such=3", "no_such"),
    ],
)
def test_what_the_lab_gives_itself(name, argument, says):
    words = refused(f"{name}:{argument}")
    assert says in words
    assert argument.partition("=")[0] in words


@pytest.mark.parametrize(
    "text",
    [
        "mobilenet_v2:width_mult=abc",
        "mobilenet_v2:round_nearest=0",
        "mobilenet_v2:norm_layer=abc",
        "squeezenet1_1:version=3",
        "squeezenet1_1:dropout=2",
        "vit_b_16:dropout=x",
        "timm/resnet10t:act_layer=abc",
        "timm/resnet10t:output_stride=7",
        "timm/vit_tiny_patch16_224:patch_size=0",
        "tiny_vit:patch=abc",
        "tiny_vit:patch=0",
        "tiny_vit:patch=-4",
        "resnet20:skip=abc",
        "repvgg_a0:form=1",
    ],
)
def test_values_of_a_wrong_kind_are_one_line_with_a_reason(text):
    words = refused(text)
    argument = text.partition(":")[2].partition("=")[0]
    assert argument in words
    assert "\n" not in words
    assert ": ;" not in words


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mobilenet_v2:width_mult=-1", "wanted a number above 0; its default is 1.0"),
        ("mobilenet_v2:width_mult=0", "wanted a number above 0"),
        ("mobilenet_v2:width_mult=True", "wanted a number"),
        ("resnet18:zero_init_residual=maybe", "wanted True or False"),
        ("resnet18:groups=True", "wanted a whole number"),
        ("resnet18:width_per_group=64.0", "wanted a whole number"),
        ("timm/resnet10t:drop_rate=abc", "wanted a number"),
        ("timm/resnet10t:drop_rate=-0.5", "wanted a number of 0 or more"),
        ("tiny_cnn:width=0", "wanted a number above 0; its default is 8"),
    ],
)
def test_arguments_are_of_the_kind_and_range_that_their_class_declares(text, says):
    words = refused(text)
    assert says in words
    assert text.partition(":")[2] in words


@pytest.mark.parametrize(
    "text",
    ["mobilenet_v2:dropout=0", "resnet18:zero_init_residual=True", "timm/resnet10t:drop_rate=0"],
)
def test_arguments_of_the_right_kind_pass(text):
    build(ArchSpec.named(text), seed=0)


def test_layers_without_a_weight_are_refused():
    empty = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.Linear(4, 1))
    empty[1].weight = torch.nn.Parameter(torch.empty(0, 4))
    for net, says in (
        (empty, "a layer that is zero wide (1.weight)"),
        (torch.nn.Flatten(), "no w"),
    ):
        with pytest.raises(BadInput, match=re.escape(says)):
            check_weights("tiny_cnn", {}, net)


def test_a_name_in_capitals_is_near_the_same_in_small_letters():
    with pytest.raises(UnknownName) as caught:
        build(ArchSpec(name="RESNET18"))
    assert caught.value.near[0] == "resnet18"
    assert UnknownName("class", "cat", ["Cat", "DOG"]).near == ["Cat"]


def test_what_a_network_says_when_it_runs_is_told_without_another_s_remedy():
    net = build(ArchSpec.named("timm/resnet10t:drop_rate=2"), seed=0)
    with pytest.raises(BadInput, match=r"dropout probability has to be between 0 and 1.*arguments"):
        split_points(net)


@pytest.mark.parametrize(
    "text",
    [
        "timm/resnet10t:checkpoint_path=",
        "tiny_cnn:width",
        "tiny_cnn:=3",
        "tiny_cnn:x={1}",
        "tiny_cnn:x=1e999",
        "tiny_cnn:x=b'a'",
    ],
)
def test_what_is_no_value(text):
    assert "wanted" in refused(text)


def test_a_value_that_python_cannot_hash_is_text():
    assert ArchSpec.named("tiny_cnn:width={[]: 1}").arguments == {"width": "{[]: 1}"}
    assert "width" in refused("tiny_cnn:width={[]: 1}")


def test_the_size_may_be_repeated_and_arguments_of_the_library_still_pass():
    arch = ArchSpec.named("timm/vit_tiny_patch16_224:img_size=64", input=InputSpec(size=64))
    assert build(arch, seed=0).eval()(torch.rand(1, 3, 64, 64)).shape == (1, 10)
    wide = ArchSpec.named("mobilenet_v2:width_mult=0.25")
    assert build(wide, seed=0).net.features[0][0].out_channels == 8
