"""Registries name their neighbours; features know their channel; network data survives JSON."""

import pytest

from splitlab.contracts import ArchSpec, FeatureSpec, Registry, layout_of
from splitlab.errors import BadInput, UnknownName


def test_registry_loads_on_use_and_lists_the_nearest():
    registry = Registry("thing", {"ordered": "collections:OrderedDict", "broken": "no.such:Thing"})
    assert registry.load("ordered").__name__ == "OrderedDict"
    with pytest.raises(UnknownName, match=r"unknown thing 'order'; nearest: ordered") as caught:
        registry.load("order")
    assert caught.value.near[0] == "ordered"


@pytest.mark.parametrize(
    ("shape", "layout", "channels", "axis"),
    [
        ((16, 32, 32), "map", 16, 1),
        ((56, 56, 96), "grid", 96, -1),
        ((197, 768), "tokens", 768, -1),
        ((512,), "vector", 512, 1),
        ((8, 8, 8), "map", 8, 1),
    ],
)
def test_layouts(shape, layout, channels, axis):
    feature = FeatureSpec(shape=shape)
    assert (layout_of(shape), feature.channels, feature.channel_axis) == (layout, channels, axis)


def test_arch_survives_json():
    arch = ArchSpec(name="resnet20", classes=7, variants={"skip": [1, 1, 0]})
    assert ArchSpec.model_validate_json(arch.model_dump_json()) == arch


def test_a_network_is_named_with_its_arguments():
    arch = ArchSpec.named("repvgg_a0:form=deploy, depth=3", classes=7)
    assert (arch.name, arch.classes) == ("repvgg_a0", 7)
    assert arch.arguments == {"form": "deploy", "depth": 3}
    assert ArchSpec.named("torchvision/resnet18").arguments == {}
    with pytest.raises(BadInput, match=r"'form' in 'repvgg_a0:form': wanted field=value"):
        ArchSpec.named("repvgg_a0:form")
    with pytest.raises(BadInput, match=r"'form' is given twice"):
        ArchSpec.named("repvgg_a0:form=train,form=deploy")
