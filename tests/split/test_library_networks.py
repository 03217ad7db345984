"""Every image classifier of torchvision and a broad sample of timm's: parts equal the whole."""

import pytest
from split_cases import check_network

from splitlab.contracts import ArchSpec, InputSpec
from splitlab.errors import NotCuttable
from splitlab.models import build
from splitlab.models.library import torchvision_names
from splitlab.split import find_point, split_points

# Sides at which a network runs where 32 pixels are not enough.
SIDES = {"alexnet": 64, "inception_v3": 75, "maxvit_t": 224, "vit_h_14": 28}

FAST = (
    "googlenet",
    "mobilenet_v3_small",
    "resnet18",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
)

TIMM_FAST = (
    ("convnext_atto", 32),
    ("repvgg_a0", 32),
    ("resnet10t", 32),
    ("vit_tiny_patch16_224", 32),
)

# One network of each family, by the file of timm that it lives in.
TIMM_SLOW = (
    ("beit_base_patch16_224", 32),
    ("cait_xxs24_224", 32),
    ("coat_tiny", 32),
    ("convit_tiny", 32),
    ("convmixer_1024_20_ks9_p14", 32),
    ("cs3darknet_s", 32),
    ("cspnext_tiny", 32),
    ("davit_tiny", 32),
    ("deit_tiny_patch16_224", 32),
    ("densenet121", 32),
    ("dla60_res2net", 32),
    ("dpn68", 32),
    ("edgenext_small", 32),
    ("efficientformer_l1", 224),
    ("efficientformerv2_s0", 32),
    ("efficientvim_m1", 32),
    ("efficientvit_b0", 32),
    ("efficientvit_m0", 32),
    ("ese_vovnet19b_slim", 32),
    ("eva02_tiny_patch14_224", 28),
    ("fasternet_t0", 32),
    ("fastvit_s12", 32),
    ("focalnet_tiny_lrf", 32),
    ("gcvit_tiny", 32),
    ("ghostnet_100", 32),
    ("gmixer_12_224", 32),
    ("halonet26t", 256),
    ("hardcorenas_a", 32),
    ("hgnet_tiny", 32),
    ("hiera_tiny_224", 32),
    ("hrnet_w18_small", 32),
    ("iformer_s", 32),
    ("inception_next_atto", 32),
    ("inception_resnet_v2", 96),
    ("inception_v4", 96),
    ("levit_128", 224),
    ("lcnetv2_small", 32),
    ("legacy_xception", 75),
    ("mambaout_femto", 32),
    ("maxvit_pico_rw_256", 32),
    ("mobilenetv3_small_050", 32),
    ("mobilevit_xxs", 32),
    ("mvitv2_tiny", 32),
    ("nasnetalarge", 32),
    ("nest_tiny", 32),
    ("nextvit_small", 32),
    ("pit_xs_224", 32),
    ("poolformer_s12", 32),
    ("pvt_v2_b0", 32),
    ("rdnet_tiny", 32),
    ("regnetz_040_h", 32),
    ("repghostnet_100", 32),
    ("repvit_m0_9", 32),
    ("res2net50_14w_8s", 32),
    ("resnest14d", 32),
    ("resnetv2_50", 32),
    ("rexnet_100", 32),
    ("selecsls42", 32),
    ("sequencer2d_s", 32),
    ("skresnet18", 32),
    ("swin_tiny_patch4_window7_224", 64),
    ("swinv2_cr_tiny_224", 32),
    ("swinv2_tiny_window8_256", 64),
    ("test_nfnet", 32),
    ("tiny_vit_5m_224", 32),
    ("tnt_s_patch16_224", 32),
    ("tresnet_m", 32),
    ("twins_svt_small", 32),
    ("vgg11", 32),
    ("visformer_tiny", 32),
    ("vit_tiny_r_s16_p8_224", 32),
    ("vit_relpos_small_patch16_224", 32),
    ("vitamin_small_224", 32),
    ("volo_d1_224", 32),
    ("xception41", 75),
    ("xcit_nano_12_p8_224", 32),
)


@pytest.mark.parametrize(
    "name", [FAST[0], *(pytest.param(name, marks=pytest.mark.slow) for name in FAST[1:])]
)
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


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("name", "size"), TIMM_SLOW)
def test_every_other_family_of_timm(name: str, size: int) -> None:
    check_network(f"timm/{name}", size)


@pytest.mark.slow
def test_where_two_branches_never_meet_there_is_no_split_point() -> None:
    spec = ArchSpec(name="timm/crossvit_tiny_240", input=InputSpec(size=240))
    points = split_points(build(spec, seed=0), spec.input.shape)
    assert list(points) == []
    with pytest.raises(NotCuttable, match="2 tensors cross there"):
        find_point(points, "blocks.0.blocks.0.0.add")
