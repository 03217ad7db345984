"""Every image classifier of torchvision and a broad sample of timm's: parts equal the whole."""

import pytest
from split_cases import check_network

from splitlab.models.library import torchvision_names

# Sides at which a network runs where 32 pixels are not enough.
SIDES = {"alexnet": 64, "inception_v3": 75, "maxvit_t": 224, "vit_h_14": 28}

FAST = (
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "googlenet",
    "mobilenet_v3_small",
    "regnet_x_400mf",
    "resnet18",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "swin_v2_t",
)

TIMM_FAST = (
    ("repvgg_a0", 32),
    ("resnet10t", 32),
    ("vit_tiny_patch16_224", 32),
)


@pytest.mark.parametrize("name", FAST)
def test_torchvision(name: str) -> None:
    check_network(f"torchvision/{name}", SIDES.get(name, 32))


@pytest.mark.parametrize(("name", "size"), TIMM_FAST)
def test_timm(name: str, size: int) -> None:
    check_network(f"timm/{name}", size)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", [name for name in torchvision_names() if name not in FAST])
def test_every_other_network_of_torchvision(name: str) -> None:
    check_network(f"torchvision/{name}", SIDES.get(name, 32))
