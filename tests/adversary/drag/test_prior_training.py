"""The small diffusion prior: it learns, follows its average, and a kill costs an epoch."""

import copy
import json

import pytest
import torch
from worlds import AUX, Killed, Watch

from adversary.contract.workplace import Workplace
from adversary.inversion.drag import folder
from adversary.inversion.drag.schedule import alpha_bars, cosine, linear
from adversary.inversion.drag.training import PriorTraining, prior_size, rate_share, train_prior
from splitlab.errors import BadInput
from splitlab.models.denoiser import DenoisingUNet

IMAGES = AUX.images.images[:48]
SMALL = PriorTraining(steps=6, batch_size=16, width=8)
FLAT = torch.arange(16).mul(16).byte().view(16, 1, 1, 1).expand(16, 3, 8, 8).contiguous()
"""Images of one grey each."""


def answers(prior, size=16):
    draw = torch.Generator().manual_seed(1)
    noisy = torch.randn(3, 3, size, size, generator=draw)
    with torch.no_grad():
        return prior.epsilon(noisy, torch.tensor([5, 400, 900]))


def test_a_network_of_a_million_parameters():
    count = sum(p.numel() for p in DenoisingUNet().parameters())
    assert 0.8e6 < count < 1.2e6
    with pytest.raises(BadInput, match="multiple of 8"):
        DenoisingUNet(12)


def test_the_network_is_told_the_time():
    torch.manual_seed(0)
    net = DenoisingUNet(8)
    for weight in net.parameters():  # those of the last convolutions begin as zeros
        torch.nn.init.normal_(weight, std=0.1)
    image = torch.randn(1, 3, 8, 8)
    early, late = (net(image, torch.tensor([time])) for time in (1, 900))
    assert early.shape == image.shape
    assert float((early - late).detach().abs().max()) > 1e-3


def test_it_learns_the_noise_of_flat_images():
    """All that is not flat in such an image is noise: less than half of it is left unknown."""
    prior = train_prior(FLAT, PriorTraining(steps=120, batch_size=16, width=8, rate=3e-3), seed=0)
    draw = torch.Generator().manual_seed(2)
    noise = torch.randn(16, 3, 8, 8, generator=draw)
    level = prior.alpha_bar[300]
    noisy = level.sqrt() * (2 * FLAT.float() / 255 - 1) + (1 - level).sqrt() * noise
    with torch.no_grad():
        found = prior.epsilon(noisy, torch.full((16,), 300))
    assert float((found - noise).square().mean()) < 0.5
    first, last = prior.facts["losses"]
    assert last < first


def test_a_killed_training_continues_bit_by_bit(tmp_path):
    whole = train_prior(IMAGES, SMALL, seed=3)
    file = tmp_path / "fits" / "drag.pt"
    with pytest.raises(Killed):
        train_prior(
            IMAGES, SMALL, seed=3, work=Workplace(progress=Watch(kill_after=4), checkpoint=file)
        )
    kept = list(file.parent.glob("prior-*.pt"))
    assert len(kept) == 1
    again = train_prior(IMAGES, SMALL, seed=3, work=Workplace(checkpoint=file))
    assert torch.equal(answers(whole), answers(again))
    assert whole.facts == again.facts


def test_at_another_cut_nothing_is_trained(tmp_path):
    """The checkpoint's name is the fit's, and the prior does not depend on it."""
    first = train_prior(IMAGES, SMALL, seed=3, work=Workplace(checkpoint=tmp_path / "one.pt"))
    idle = Workplace(progress=Watch(kill_after=0), checkpoint=tmp_path / "two.pt")
    assert torch.equal(answers(first), answers(train_prior(IMAGES, SMALL, seed=3, work=idle)))
    with pytest.raises(Killed):
        train_prior(IMAGES[:40], SMALL, seed=3, work=idle)


def test_its_answers_are_those_of_the_average():
    one = PriorTraining(steps=30, batch_size=16, width=8, decay=0.0)
    slow = train_prior(IMAGES, PriorTraining(steps=30, batch_size=16, width=8), seed=0)
    assert not torch.equal(answers(train_prior(IMAGES, one, seed=0)), answers(slow))


def test_a_size_that_cannot_be_halved_twice_is_enlarged():
    assert [prior_size(size) for size in (16, 17, 30, 32)] == [16, 20, 32, 32]
    odd = train_prior(IMAGES[:, :, :10, :10].contiguous(), SMALL, seed=0)
    assert odd.size == 12
    assert answers(odd, 12).shape == (3, 3, 12, 12)


@pytest.mark.parametrize("total", [1, 2, 3, 10, 11, 1500])
def test_the_rate_rises_and_falls_in_trainings_of_any_length(total):
    shares = [rate_share(step, total) for step in range(total + 1)]  # one is asked for too many
    assert all(0 <= share <= 1 for share in shares)
    assert max(shares) == shares[min(max(1, total // 10), total)]
    assert shares[-1] <= shares[-2] or total < 3


def test_one_image_is_refused():
    with pytest.raises(BadInput, match="has 1 images"):
        train_prior(IMAGES[:1], SMALL, seed=0)


def written(place, **told):
    (place / "unet").mkdir(parents=True)
    (place / "scheduler").mkdir()
    told = {"_class_name": "UNet2DModel", **told}
    (place / "unet" / folder.CONFIG).write_text(json.dumps(told))
    (place / "unet" / folder.WEIGHTS).write_bytes(b"")
    return str(place)


def test_a_folder_without_safetensors_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"config\.json and diffusion_pytorch_model"):
        folder.network_folder(str(tmp_path))
    place = written(tmp_path / "made")
    (tmp_path / "made" / "unet" / folder.WEIGHTS).rename(tmp_path / "made" / "unet" / "model.bin")
    with pytest.raises(BadInput, match="Weights in another format are not read"):
        folder.network_folder(place)


def test_a_network_of_another_kind_is_refused(tmp_path):
    place = written(tmp_path / "made", _class_name="UNet2DConditionModel")
    with pytest.raises(BadInput, match="holds a UNet2DConditionModel; wanted a UNet2DModel"):
        folder.network_folder(place)


def test_a_missing_library_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "diffusers", None)
    with pytest.raises(BadInput, match=r"pip install 'splitlab\[diffusion\]'"):
        folder.network_folder(written(tmp_path / "made"))


def test_schedules_of_folders():
    torch.testing.assert_close(folder.folder_schedule({}, "p"), alpha_bars("linear"))
    told = {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 100}
    torch.testing.assert_close(folder.folder_schedule(told, "p"), cosine(100))
    told = {"beta_schedule": "scaled_linear", "beta_start": 0.001, "beta_end": 0.01}
    wanted = linear(1000, 0.001, 0.01, root=True)
    torch.testing.assert_close(folder.folder_schedule(told, "p"), wanted)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"prediction_type": "v_prediction"}, "predicts v_prediction; wanted epsilon"),
        ({"beta_schedule": "sigmoid"}, "beta_schedule=sigmoid"),
        ({"beta_start": 0.5, "beta_end": 0.1}, "rising within 0 and 1"),
        ({"num_train_timesteps": "many"}, "num_train_timesteps='many'"),
    ],
)
def test_schedules_that_are_not_known_are_refused(told, words):
    with pytest.raises(BadInput, match=words):
        folder.folder_schedule(copy.deepcopy(told), "p")


def test_a_prior_of_the_library_is_read(tmp_path):
    """Where it is installed: saved by it, read by us, the same answers."""
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    net = diffusers.UNet2DModel(
        sample_size=16,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    ).eval()
    net.save_pretrained(tmp_path, safe_serialization=True)
    prior = folder.read_prior(str(tmp_path), torch.device("cpu"))
    noisy, times = torch.randn(2, 3, 16, 16), torch.tensor([7, 7])
    with torch.no_grad():
        torch.testing.assert_close(prior.epsilon(noisy, times), net(noisy, times).sample)
    assert prior.size == 16
